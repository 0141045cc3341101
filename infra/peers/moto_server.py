"""AWS Step Functions (and S3, KMS, EventBridge) on this machine: moto's server with its interpreter switched on.

Task states call Lambda functions at --lambda-endpoint, which speaks Lambda's Invoke API. When an execution ends, the
event that AWS would send through EventBridge is posted to the function named by --status-events; with --delivery drop it
is lost, with double it comes twice.
"""

import argparse
import functools
import http.client
import json
import os
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--lambda-endpoint", required=True)
arguments.add_argument("--status-events", metavar="FUNCTION")
arguments.add_argument("--delivery", choices=["keep", "drop", "double"], default="keep")
options = arguments.parse_args()

# moto reads these when it is imported.
os.environ["MOTO_PORT"] = str(options.port)
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import jsonatapy  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402
from moto.core.config import default_user_config  # noqa: E402
from moto.server import DomainDispatcherApplication, create_backend_app  # noqa: E402
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName  # noqa: E402
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException  # noqa: E402
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import iteration_worker  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.distributed_item_processor_worker import DistributedItemProcessorWorker  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branches_decl  # noqa: E402
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils  # noqa: E402
from moto.stepfunctions.parser.asl.eval import states, variable_store  # noqa: E402
from moto.stepfunctions.parser.asl.jsonata import jsonata  # noqa: E402
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str  # noqa: E402
from moto.stepfunctions.parser.backend import execution  # noqa: E402
from moto.stepfunctions.parser.models import StepFunctionsParserBackend  # noqa: E402
from werkzeug.serving import run_simple  # noqa: E402

LAMBDA = urlsplit(options.lambda_endpoint).netloc
# As long as a state machine may wait for a Task.
INVOKE_TIMEOUT_SECONDS = 900


def evaluate(expression: str) -> Any:
    """Evaluates JSONata: moto has only the place for it."""
    try:
        return jsonatapy.compile(expression).evaluate(None)
    except Exception as error:
        raise jsonata.JSONataException("UNKNOWN", str(error)) from error


def encode_variables(bindings: dict[str, Any]) -> str:
    """Declares variables for an expression. moto pastes strings in as they are, so `say "hi"` would not parse."""
    literals = {name: json.dumps(value) if isinstance(value, str) else to_json_str(value) for name, value in bindings.items()}
    return "".join(f"{name}:={literal};" for name, literal in literals.items())


def error_name(error_name: str) -> CustomErrorName | StatesErrorName:
    """Names an error that leaves a branch. moto lets `States.*` end the execution past the state's Catch; AWS does not."""
    if error_name.startswith("States."):
        return StatesErrorName.from_name(error_name)
    return CustomErrorName(error_name=error_name)


eval_child = DistributedItemProcessorWorker._eval_job


def eval_child_within_threshold(self: DistributedItemProcessorWorker, env: Any, job: Any) -> None:
    """Runs a child of a distributed Map, and fails the Map when too many have failed. moto tolerates any number."""
    run = self._map_run_record
    before = run.execution_counter.failed.get()
    eval_child(self, env, job)
    failed = run.execution_counter.failed.get()
    count, percentage = run.tolerated_failure_count, run.tolerated_failure_percentage
    too_many = count < failed if count or not percentage else False
    too_large_a_part = failed * 100 / self._job_pool._jobs_number > percentage if percentage else False
    if failed > before and (too_many or too_large_a_part):
        error, cause = "States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded"
        details = {"executionFailedEventDetails": {"error": error, "cause": cause}}
        job.job_output = FailureEventException(FailureEvent(env, error_name(error), "MapRunFailed", details))


def post(function: str, payload: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(LAMBDA, timeout=INVOKE_TIMEOUT_SECONDS)
    try:
        connection.request("POST", f"/2015-03-31/functions/{function}/invocations", body=payload)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


class Payload:
    """A body that is read like boto3's."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def read(self) -> bytes:
        return self.body


class Lambda:
    """The one call of boto3's Lambda client that the interpreter makes; making that client anew takes it 50 ms each."""

    def invoke(self, FunctionName: str, Payload: Any = None, **_: Any) -> dict[str, Any]:
        function = FunctionName.rsplit(":", 1)[-1]
        payload = Payload if isinstance(Payload, (str, bytes)) else json.dumps(Payload)
        try:
            response, body = post(function, payload)
        except OSError as error:
            raise refused("SdkClientException", str(error), 0) from error
        kind = function_error(response, body)
        if response.status >= 400 and kind is None:
            raise refused("ServiceException", body.decode(errors="replace"), response.status)
        return reply(body, kind)


def function_error(response: http.client.HTTPResponse, body: bytes) -> str | None:
    """What kind of error the function ended with: cargo lambda answers it as a 500 without the header that AWS sets."""
    if response.status < 400:
        return response.getheader("x-amz-function-error")
    try:
        return "Unhandled" if "errorType" in json.loads(body) else None
    except (ValueError, TypeError):
        return None


def reply(body: bytes, kind: str | None) -> dict[str, Any]:
    answer = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": Payload(body)}
    if kind:
        answer["FunctionError"] = kind
    return answer


def refused(code: str, message: str, status: int) -> ClientError:
    metadata = {"HTTPStatusCode": status, "RequestId": "-"}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "Invoke")


client_for = lambda_eval_utils.boto_client_for


def lambda_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
    return Lambda() if service == "lambda" else client_for(region, service, state_credentials)


def status_change(ended: execution.Execution) -> dict[str, Any]:
    """EventBridge's event, as AWS documents it."""
    described = ended.to_describe_output()
    arn = described["executionArn"]
    stamp = described["stopDate"]
    return {
        "version": "0",
        "id": f"{described['name']}-{described['status']}",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": ended.account_id,
        "time": stamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": ended.region_name,
        "resources": [arn],
        "detail": {
            "executionArn": arn,
            "stateMachineArn": described["stateMachineArn"],
            "name": described["name"],
            "status": described["status"],
            "startDate": int(ended.start_date.timestamp() * 1000),
            "stopDate": int(stamp.timestamp() * 1000),
            "input": described["input"],
            "output": described.get("output"),
            "inputDetails": {"included": True},
            "outputDetails": {"included": True} if "output" in described else None,
            "error": described.get("error"),
            "cause": described.get("cause"),
        },
    }


def deliver_as_told(event: dict[str, Any]) -> None:
    for _ in range({"keep": 1, "drop": 0, "double": 2}[options.delivery]):
        deliver(event)


def deliver(event: dict[str, Any]) -> None:
    """Like EventBridge, tries again when nobody takes the event."""
    for wait_seconds in (0.2, 0.5, 1, 2, 5):
        try:
            response, _ = post(options.status_events, json.dumps(event))
            if response.status < 400 and response.getheader("x-amz-function-error") is None:
                return
        except OSError:
            pass
        time.sleep(wait_seconds)


validate = StepFunctionsParserBackend._validate_definition
validated: set[str] = set()


def validate_once(definition: str) -> None:
    """Checks a definition. That takes moto a second for a large one, and deployments of tests differ by their prefix alone."""
    form = re.sub(r"\bs\d+\b", "s0", definition)
    if form not in validated:
        validate(definition)
        validated.add(form)


terminated = execution.BaseExecutionWorkerCommunication.terminated


def terminated_and_told(self: execution.BaseExecutionWorkerCommunication) -> None:
    terminated(self)
    if options.status_events:
        threading.Thread(target=deliver_as_told, args=(status_change(self.execution),), daemon=True).start()


jsonata._eval_jsonata = evaluate
states.encode_jsonata_variable_declarations = encode_variables
variable_store.encode_jsonata_variable_declarations = encode_variables
branches_decl.CustomErrorName = error_name
iteration_worker.CustomErrorName = error_name
DistributedItemProcessorWorker._eval_job = eval_child_within_threshold
lambda_eval_utils.boto_client_for = lambda_client_for
execution.BaseExecutionWorkerCommunication.terminated = terminated_and_told
StepFunctionsParserBackend._validate_definition = staticmethod(validate_once)
# moto lists its own folder to find the service of a request, under a lock.
DomainDispatcherApplication.get_backend_for_host = functools.cache(DomainDispatcherApplication.get_backend_for_host)
default_user_config.setdefault("stepfunctions", {})["execute_state_machine"] = True

if __name__ == "__main__":
    print(f"moto listens on http://127.0.0.1:{options.port}", flush=True)
    run_simple("127.0.0.1", options.port, DomainDispatcherApplication(create_backend_app), threaded=True)
