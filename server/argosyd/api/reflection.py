"""Server reflection in both its versions: `v1`, which clients ask for first, and `v1alpha`, which grpcio-reflection has.

The two differ in their package alone (gRPC's doc/server-reflection.md): the same bytes travel, so one servicer serves
both, and the description of `v1` is that of `v1alpha` under another name.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

ALPHA, STABLE = reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection"


def enable(server: aio.Server, services: Sequence[str]) -> None:
    """Lets clients ask `server` what it serves: `services` by their full names, and reflection itself."""
    _describe()
    servicer = reflection.aio.ReflectionServicer([*services, ALPHA, STABLE])  # type: ignore[attr-defined]
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(STABLE, {"ServerReflectionInfo": method}),))


def _describe() -> None:
    """Enters grpc/reflection/v1/reflection.proto where the servicer looks for descriptions."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(STABLE)
    except KeyError:
        pool.AddSerializedFile(_renamed(reflection_pb2.DESCRIPTOR.serialized_pb))


def _renamed(alpha: bytes) -> bytes:
    """The description of the file, its package and all that it mentions, as of v1."""
    file = descriptor_pb2.FileDescriptorProto.FromString(alpha)
    before, after = f".{file.package}.", f".{STABLE.rpartition('.')[0]}."
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = after.strip(".")
    # What generators for other languages are told of v1alpha.
    file.ClearField("options")
    for message in file.message_type:
        for field in filter(lambda field: field.type_name, message.field):
            field.type_name = field.type_name.replace(before, after)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(before, after)
            method.output_type = method.output_type.replace(before, after)
    return file.SerializeToString()
