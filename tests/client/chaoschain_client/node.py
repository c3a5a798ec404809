"""A node, over HTTP or NATS: both have the same methods and give the same answers."""

import asyncio
import base64
import itertools
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import msgpack

from .codec import Refused, decode, encode, need
from .formats import BATCH, OUTCOMES, RECEIPT, REFUSAL

JSON, MSGPACK = "application/json", "application/msgpack"
ANSWER_SECONDS = 20
TRIES = 5


class Busy(Exception):
    """Nothing is known of a request: the same bytes are to be sent again."""


class Node:
    """Over HTTP. Refusals are raised as `Refused` with the node's code."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def submit(self, envelope, as_json=False):
        """The receipt of an envelope."""
        return _receipt(self._ask("/v1/transitions", *_submission(envelope, as_json)), as_json)

    def dry_run(self, envelope):
        """The verdict, and where it was judged."""
        return json.loads(self._ask("/v1/transitions?dry_run=true", *_submission(envelope, True)))

    def submit_batch(self, envelopes, as_json=False):
        """For each envelope its receipt and its refusal, one of them `None`."""
        return _outcomes(self._ask("/v1/transitions/batch", *_submissions(envelopes, as_json)), as_json)

    def read(self, *path, **parameters):
        """An answer: `at`, `label`, `value` and, if asked for, `proof` as bytes."""
        return _answer(json.loads(self._ask(_path(path, parameters))))

    def proof(self, *path, **parameters):
        """The proof file of an answer, without the answer."""
        return self._ask(_path(path, {**parameters, "proof": True}), form=MSGPACK)

    def raw_block(self, height):
        return self._ask(f"/v1/blocks/{height}/raw", form="*/*")

    def witness(self, height):
        """The witness of a block; over HTTP alone."""
        return self._ask(f"/v1/blocks/{height}/witness", form=MSGPACK)

    def _ask(self, path, body=None, form=JSON):
        headers = {"Accept": form, **({"Content-Type": form} if body is not None else {})}
        return _patiently(self._ask_once, urllib.request.Request(self.url + path, body, headers))

    @staticmethod
    def _ask_once(request):
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise _refusal(error.read(), error.headers.get_content_type(), error.code) from None
        except OSError as error:
            raise Busy(f"no answer: {error}") from error


class NatsNode:
    """Over NATS. Every other read is asked and answered as JSON, the rest as MessagePack."""

    def __init__(self, url, chain):
        import nats  # so that a client that speaks HTTP alone need not have it

        self._errors = nats.errors
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._connection = self._wait(nats.connect(url))
        self._chain = chain.hex()
        self._as_json = itertools.cycle((False, True))

    def submit(self, envelope, as_json=False):
        return _receipt(self._ask("command.submit", *_submission(envelope, as_json)), as_json)

    def dry_run(self, envelope):
        as_json = next(self._as_json)
        return _document(self._ask("command.dry_run", *_submission(envelope, as_json)), as_json)

    def submit_batch(self, envelopes, as_json=False):
        return _outcomes(self._ask("command.batch", *_submissions(envelopes, as_json)), as_json)

    def read(self, *path, **parameters):
        as_json = next(self._as_json)
        endpoint, asked = _endpoint(path)
        asked = {**asked, **parameters}
        request = json.dumps(asked).encode() if as_json else msgpack.packb(asked)
        answer = self._ask(f"query.{endpoint}", request, JSON if as_json else MSGPACK)
        return _answer(_document(answer, as_json))

    def raw_block(self, height):
        request = msgpack.packb({"arguments": [str(height)]})
        return self._ask("query.block_raw", request, MSGPACK)

    def _ask(self, endpoint, body, form):
        return _patiently(self._ask_once, f"chaoschain.{self._chain}.{endpoint}", body, form)

    def _ask_once(self, subject, body, form):
        trace = os.urandom(16).hex()
        headers = {"Content-Type": form, "Accept": form, "traceparent": f"00-{trace}-{os.urandom(8).hex()}-01"}
        try:
            asked = self._connection.request(subject, body, timeout=ANSWER_SECONDS, headers=headers)
            answer = self._wait(asked)
        except (self._errors.TimeoutError, self._errors.NoRespondersError) as error:
            raise Busy(f"no answer: {error!r}") from error
        said = answer.headers or {}
        need(said.get("traceparent", "").split("-")[1:2] == [trace], "trace_lost", "not the caller's trace")
        if "Nats-Service-Error-Code" in said:
            raise _refusal(answer.data, said["Content-Type"], int(said["Nats-Service-Error-Code"]))
        return answer.data

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _patiently(ask, *arguments):
    """Sends the same bytes again where nothing was said, or where the refusal says when."""
    for left in reversed(range(TRIES)):
        try:
            return ask(*arguments)
        except Busy:
            if not left:
                raise
        except Refused as refusal:
            again = getattr(refusal, "retry_after_ms", None)
            if again is None or not left:
                raise
            time.sleep(again / 1000)


def _refusal(said, form, status):
    refusal = decode(REFUSAL, said) if form == MSGPACK else REFUSAL.from_json(json.loads(said))
    refused = Refused(refusal["code"], refusal["message"])
    refused.retry_after_ms = refusal["retry_after_ms"] if status in (429, 503) else None
    return refused


def _submission(envelope, as_json):
    if not as_json:
        return envelope, MSGPACK
    return json.dumps({"envelope": base64.b64encode(envelope).decode()}).encode(), JSON


def _submissions(envelopes, as_json):
    if not as_json:
        return encode(BATCH, envelopes), MSGPACK
    return json.dumps({"envelopes": BATCH.to_json(envelopes)}).encode(), JSON


def _receipt(answer, as_json):
    return RECEIPT.from_json(json.loads(answer)) if as_json else decode(RECEIPT, answer)


def _outcomes(answer, as_json):
    return OUTCOMES.from_json(json.loads(answer)) if as_json else decode(OUTCOMES, answer)


def _document(answer, as_json):
    return json.loads(answer) if as_json else msgpack.unpackb(answer)


def _answer(document):
    if isinstance(document.get("proof"), str):
        document["proof"] = base64.b64decode(document["proof"], validate=True)
    return document


def _path(path, parameters):
    """Where HTTP has what the arguments of `read` name."""
    parts = "/".join(urllib.parse.quote(str(part), safe="") for part in path)
    return f"/v1/{parts}?" + urllib.parse.urlencode({name: str(it).lower() for name, it in parameters.items()})


def _endpoint(path):
    """Where NATS has what the arguments of `read` name: the endpoint, and the fields that say so."""
    name, arguments = path[0], [str(argument) for argument in path[1:]]
    if name == "events":
        by_id = arguments[0] == "by-id"
        return ("event_by_id", {"arguments": arguments[1:]}) if by_id else ("event", {"arguments": arguments})
    if name == "record":
        return "record", {"arguments": arguments}
    return "read", {"read": name, "arguments": arguments}
