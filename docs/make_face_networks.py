"""Make puppet/assets/face_points.xml and face_blendshapes.xml (and .bin) out of the FaceLandmarker bundle.

They are its networks for a face's landmarks and for their blendshapes, as OpenVINO reads them fastest: of fixed shapes,
with bytes for pixels, half-precision weights as in the bundle, and without outputs that nothing needs.

    PYTHONPATH=. python docs/make_face_networks.py
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from puppet.openvino_core import core, openvino
from puppet.settings import asset
from puppet.tracking import MODEL


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(MODEL) as bundle:
        path = Path(folder)
        bundle.extractall(path)

        points = core().read_model(path / "face_landmarks_detector.tflite")
        points.reshape([1, 256, 256, 3])
        prepared = openvino.preprocess.PrePostProcessor(points)
        prepared.input().tensor().set_element_type(openvino.Type.u8)
        prepared.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
        points = prepared.build()
        found, present = points.outputs[:2]
        found.set_names({"points"})
        present.set_names({"presence"})
        parameters = points.get_parameters()
        parameters[0].output(0).set_names({"image"})
        results = [each.get_node() for each in (found, present)]
        openvino.save_model(openvino.Model(results, parameters, "face_points"), asset("face_points.xml"))

        blendshapes = core().read_model(path / "face_blendshapes.tflite")
        blendshapes.inputs[0].set_names({"points"})
        blendshapes.outputs[0].set_names({"blendshapes"})
        openvino.save_model(blendshapes, asset("face_blendshapes.xml"))


if __name__ == "__main__":
    main()
