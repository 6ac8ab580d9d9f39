import mlsrv


@mlsrv.hookimpl
def mlsrv_codecs() -> mlsrv.CodecOffer:
    return mlsrv.CodecOffer("hex", "mlsrv_hex.codec:HexCodec")
