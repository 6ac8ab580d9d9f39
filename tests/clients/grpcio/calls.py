"""What gRPC's own clients for health and reflection can do: python calls.py NAME HOST:PORT"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "inference.GRPCInferenceService"
SECONDS = 20


def health(channel):
    stub = HealthStub(channel)
    for service in ("", SERVICE):
        request = HealthCheckRequest(service=service)
        assert stub.Check(request, timeout=SECONDS).status == HealthCheckResponse.SERVING
        watched = stub.Watch(request, timeout=SECONDS)
        assert next(watched).status == HealthCheckResponse.SERVING
        watched.cancel()
    code = None
    try:
        stub.Check(HealthCheckRequest(service="nope"), timeout=SECONDS)
    except grpc.RpcError as error:
        code = error.code()
    assert code is grpc.StatusCode.NOT_FOUND
    unknown = stub.Watch(HealthCheckRequest(service="nope"), timeout=SECONDS)
    assert next(unknown).status == HealthCheckResponse.SERVICE_UNKNOWN
    unknown.cancel()


def reflection(channel):
    """As grpcurl does it: a call that knows nothing but the name of the service, in JSON."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert SERVICE in database.get_services()
    service = DescriptorPool(database).FindServiceByName(SERVICE)
    assert {"ModelInfer", "ModelStreamInfer", "RepositoryIndex"} <= {
        method.name for method in service.methods
    }

    def call(name, **fields):
        method = service.FindMethodByName(name)
        request = ParseDict(fields, GetMessageClass(method.input_type)())
        answer = channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )(request, timeout=SECONDS)
        return MessageToDict(answer, preserving_proto_field_name=True)

    assert call("ServerReady") == {"ready": True}
    assert "echo" in {model["name"] for model in call("RepositoryIndex")["models"]}
    tensor = {"name": "x", "shape": [2], "datatype": "FP32"}
    answer = call(
        "ModelInfer", model_name="echo", inputs=[tensor | {"contents": {"fp32_contents": [1.5, 2]}}]
    )
    assert answer["outputs"][0]["contents"] == {"fp32_contents": [1.5, 2.0]}


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[2]) as channel:
        globals()[sys.argv[1]](channel)
