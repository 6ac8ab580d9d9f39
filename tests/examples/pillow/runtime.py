"""A model that mirrors pictures."""

from codecs_of_pictures import PillowCodec as PillowCodec
from PIL import Image, ImageOps

from mlsrv import MLModel
from mlsrv.codecs import decode_args


class Mirror(MLModel):
    @decode_args
    def predict(self, picture: Image.Image) -> Image.Image:
        return ImageOps.mirror(picture)
