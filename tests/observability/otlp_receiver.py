"""An OpenTelemetry collector of one page: OTLP over gRPC in, one JSON object a span out.

    python otlp_receiver.py

Prints the port that it listens on, then each span as it comes. Ends when its stdin does. Stands on the packages
opentelemetry-proto and grpcio from PyPI: what reads our traces is not our own code.
"""

import json
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(of):
    return {attribute.key: value(attribute.value) for attribute in of.attributes}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self):
        self.paper = threading.Lock()

    def Export(self, request, context):
        with self.paper:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self.write(attributes(resource.resource), span)
        return trace_service_pb2.ExportTraceServiceResponse()

    @staticmethod
    def write(resource, span):
        print(
            json.dumps(
                {
                    "service": resource["service.name"],
                    "name": span.name,
                    "kind": span.kind,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "fault": span.status.code == 2,
                    "attributes": attributes(span),
                }
            ),
            flush=True,
        )


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(grace=None)
