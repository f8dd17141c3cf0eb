"""Frames: requests that come in, each on a thread of its own, and what is asked back meanwhile.

A frame is four bytes of length, the highest first, and as much JSON. A request is {"id", "op", ...} and is answered by
{"id", "ok"} or {"id", "err"}. Until then {"id", "ask", "op", ...} may be sent, which is answered by {"id", "reply", "ok"|"err"}.
"""

import atexit
import contextvars
import json
import os
import queue
import signal
import struct
import sys
import threading
import traceback

_current = contextvars.ContextVar("consort_request", default=None)


class Refused(Exception):
    """The other side could not do what it was asked."""

    def __init__(self, error):
        super().__init__(error.get("message", "it was refused"))
        self.error = error


class Peer:
    """The other side."""

    def __init__(self, sock):
        self.sock = sock
        self.lock = threading.Lock()
        self.requests = {}

    def send(self, message):
        data = json.dumps(message).encode("utf-8", "surrogatepass")
        with self.lock:
            self.sock.sendall(struct.pack(">I", len(data)) + data)


class Request:
    """One request, while it is being carried out."""

    def __init__(self, peer, number):
        self.peer = peer
        self.number = number
        self.replies = queue.Queue()
        self.lock = threading.RLock()
        self.asked = 0
        self.ended = False

    def ask(self, op, **payload):
        """Asks the other side for something."""
        with self.lock:
            if self.ended:
                raise Refused({"message": "%s was asked for after the plugin had ended" % op})
            self.asked += 1
            asked = self.asked
            self.peer.send(dict(payload, id=self.number, ask=asked, op=op))
            while True:
                reply = self.replies.get()
                if reply.get("reply") == asked:
                    break
        if "err" in reply:
            raise Refused(reply["err"])
        return reply.get("ok")


def current():
    """The request of this thread, if there is one."""
    return _current.get()


class Workers:
    """Threads that carry requests out: as many as there are requests at a time, none of which keeps the process alive."""

    def __init__(self):
        self.idle = 0
        self.waiting = queue.Queue()
        self.lock = threading.Lock()

    def run(self, work):
        with self.lock:
            if self.idle > 0:
                self.idle -= 1
            else:
                threading.Thread(target=self._work, daemon=True).start()
        self.waiting.put(work)

    def _work(self):
        while True:
            work = self.waiting.get()
            # a context of its own for each request: ambient contexts of ansible-core are kept in it
            contextvars.Context().run(work)
            with self.lock:
                self.idle += 1


def serve(sock, exactly, options):
    """Answers until the other side is gone."""
    # an interrupt is for who started this, and ends it
    signal.signal(signal.SIGINT, lambda *_: None)
    peer = Peer(sock)
    try:
        from consort_bridge import prepare

        operations = prepare.operations(peer, options)
        peer.send({"id": 0, "ok": prepare.told()})
    except BaseException as error:
        peer.send({"id": 0, "err": {"message": "".join(traceback.format_exception_only(error)).strip()}})
        os._exit(1)
    workers = Workers()
    while True:
        message = json.loads(exactly_or_end(exactly, struct.unpack(">I", exactly_or_end(exactly, 4))[0]))
        if "reply" in message:
            request = peer.requests.get(message["id"])
            if request is not None:
                request.replies.put(message)
            continue
        if message["op"] == "end":
            end(peer, message["id"])
        request = Request(peer, message["id"])
        peer.requests[request.number] = request
        workers.run(lambda request=request, message=message: carry_out(operations, request, message))


def exactly_or_end(exactly, length):
    return exactly(length)


def end(peer, number):
    """Ends as a program does, without waiting for threads."""
    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    peer.send({"id": number, "ok": None})
    os._exit(0)


def carry_out(operations, request, message):
    from consort_bridge import errors

    _current.set(request)
    answer = {"id": request.number}
    try:
        answer["ok"] = operations[message["op"]](request, message)
    except SystemExit as error:
        answer["err"] = {"message": "the plugin ended its process with status %s" % error.code}
    except BaseException as error:
        answer["err"] = errors.told(error)
        answer["err"]["warned"] = getattr(error, "consort_warned", [])
    request.ended = True
    request.peer.requests.pop(request.number, None)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    try:
        request.peer.send(answer)
    except (TypeError, ValueError, RecursionError) as error:
        request.peer.send({"id": request.number, "err": {"message": str(error)}})
