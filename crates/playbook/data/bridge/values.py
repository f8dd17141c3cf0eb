"""Values and their JSON: what JSON has no form for is an object with the key "!", which says what it is."""

import base64
import collections.abc
import datetime
import math
import threading

from ansible._internal._datatag._tags import Origin, TrustedAsTemplate
from ansible._internal._templating import _jinja_common
from ansible._internal._templating._utils import Omit
from ansible.module_utils._internal._datatag import AnsibleTaggedObject
from ansible.parsing.vault import EncryptedString

_TRUSTED = TrustedAsTemplate()
_origins = {}
# what values cannot be written down are kept here until the process ends, by number
_kept = {}
_kept_lock = threading.Lock()


def origin(written):
    """The tag of a place: file, line, column."""
    key = tuple(written)
    known = _origins.get(key)
    if known is None:
        file, line, column = written
        line, column = line or None, column or None
        if file.startswith("/"):
            known = Origin(path=file, line_num=line, col_num=column if line else None)
        else:
            known = Origin(description=file or "<unknown>", line_num=line, col_num=column if line else None)
        if len(_origins) > 50_000:
            _origins.clear()
        _origins[key] = known
    return known


def place(tag):
    """A place as JSON."""
    return [tag.path or tag.description or "", tag.line_num or 0, tag.col_num or 0]


class Lazy(collections.abc.Mapping):
    """A mapping of the other side, whose values are asked for when somebody looks."""

    def __init__(self, request, number, kind):
        self._request, self._number, self._kind = request, number, kind
        self._known = {}
        self._names = None

    def __getitem__(self, key):
        if key not in self._known:
            answer = self._request.ask("item", handle=self._number, key=encode(key))
            if answer is None:
                raise KeyError(key)
            self._known[key] = decode(answer["value"], self._request)
        value = self._known[key]
        if isinstance(value, _jinja_common.Marker):
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return key in self._keys()

    def _keys(self):
        if self._names is None:
            self._names = [decode(key, self._request) for key in self._request.ask("keys", handle=self._number)]
        return self._names

    def __iter__(self):
        return iter(list(self._keys()))

    def __len__(self):
        return len(self._keys())

    def __repr__(self):
        return "<%s>" % self._kind

    def raw_get(self, key):
        return self[key]

    def set_host_variable(self, host, varname, value):
        self._request.ask("set_host_variable", host=host, name=varname, value=encode(value))

    def set_nonpersistent_facts(self, host, facts):
        for name, value in facts.items():
            self.set_host_variable(host, name, value)


class Variables(dict):
    """The variables of a task: a dict whose entries are asked for when somebody looks."""

    def __init__(self, request, handle=None):
        super().__init__()
        self._request = request
        self._whole = False
        self._gone = set()

    def _look(self, key):
        if dict.__contains__(self, key):
            return True
        if self._whole or key in self._gone or not isinstance(key, str):
            return False
        answer = self._request.ask("variable", name=str(key))
        if answer is None:
            self._gone.add(key)
            return False
        dict.__setitem__(self, key, decode(answer["value"], self._request))
        return True

    def _all(self):
        if not self._whole:
            for name, value in self._request.ask("variables"):
                if not dict.__contains__(self, name) and name not in self._gone:
                    dict.__setitem__(self, name, decode(value, self._request))
            self._whole = True

    def __missing__(self, key):
        if self._look(key):
            return dict.__getitem__(self, key)
        raise KeyError(key)

    def __getitem__(self, key):
        if self._look(key):
            return dict.__getitem__(self, key)
        raise KeyError(key)

    def get(self, key, default=None):
        return dict.__getitem__(self, key) if self._look(key) else default

    def __contains__(self, key):
        return self._look(key)

    def __setitem__(self, key, value):
        self._gone.discard(key)
        dict.__setitem__(self, key, value)

    def __delitem__(self, key):
        if not self._look(key):
            raise KeyError(key)
        self._gone.add(key)
        dict.__delitem__(self, key)

    def pop(self, key, *default):
        if self._look(key):
            self._gone.add(key)
            return dict.pop(self, key)
        if default:
            return default[0]
        raise KeyError(key)

    def setdefault(self, key, default=None):
        if not self._look(key):
            self[key] = default
        return dict.__getitem__(self, key)

    def __iter__(self):
        self._all()
        return dict.__iter__(self)

    def __len__(self):
        self._all()
        return dict.__len__(self)

    def __bool__(self):
        return True

    def keys(self):
        self._all()
        return dict.keys(self)

    def values(self):
        self._all()
        return dict.values(self)

    def items(self):
        self._all()
        return dict.items(self)

    def copy(self):
        other = Variables(self._request)
        dict.update(other, {key: dict.__getitem__(self, key) for key in dict.__iter__(self)})
        other._whole, other._gone = self._whole, set(self._gone)
        return other

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __or__(self, other):
        self._all()
        return dict(dict.items(self)) | other

    def __ror__(self, other):
        self._all()
        return other | dict(dict.items(self))

    def __eq__(self, other):
        self._all()
        return dict.__eq__(self, other)

    __hash__ = None

    def __repr__(self):
        self._all()
        return dict.__repr__(self)

    def __reduce__(self):
        self._all()
        return dict, (dict(dict.items(self)),)


def _text(value, request):
    text = value["v"]
    tags = []
    if value.get("o"):
        tags.append(origin(value["o"]))
    if value.get("t"):
        tags.append(_TRUSTED)
    for tag in tags:
        text = tag.tag(text)
    return text


def _moment(value, request):
    moment = datetime.datetime.fromisoformat(value["v"])
    return moment if value.get("timed", True) else moment.date()


def _undefined(value, request):
    return _jinja_common.UndefinedMarker(hint=value["v"])


_READ = {
    "s": _text,
    "b": lambda value, request: base64.b64decode(value["v"]),
    "t": lambda value, request: tuple(decode(item, request) for item in value["v"]),
    "d": lambda value, request: {decode(key, request): decode(item, request) for key, item in value["v"]},
    "i": lambda value, request: int(value["v"]),
    "f": lambda value, request: float(value["v"]),
    "m": _moment,
    "v": lambda value, request: EncryptedString(ciphertext=value["v"]),
    "omit": lambda value, request: Omit,
    "u": _undefined,
    "map": lambda value, request: Lazy(request, value["n"], value["k"]),
    "py": lambda value, request: _kept[value["n"]],
}


def decode(value, request=None):
    """JSON as a value."""
    kind = type(value)
    if kind is list:
        return [decode(item, request) for item in value]
    if kind is dict:
        what = value.get("!")
        if what is None:
            return {key: decode(item, request) for key, item in value.items()}
        return _READ[what](value, request)
    return value


def keep(value):
    """A value that cannot be written down: it stays here, and the other side knows its number."""
    with _kept_lock:
        number = len(_kept) + 1
        _kept[number] = value
    found = {"!": "py", "n": number, "k": type(value).__name__, "r": repr(value), "x": str(value)}
    found["truth"] = bool(value)
    if isinstance(value, (collections.abc.Set, collections.abc.Sequence)):
        found["items"] = [encode(item) for item in value]
    if callable(value):
        found["call"] = True
    return found


def _whole(text):
    """A text without halves of characters: bytes that were no UTF-8 are replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape" if not any("\ud800" <= c < "\udc80" for c in text) else "replace").decode("utf-8", "replace")
    return text


def encode(value, depth=0):
    """A value as JSON."""
    if value is None or value is True or value is False:
        return value
    if depth > 100:
        raise ValueError("the value is nested too deeply, or holds itself")
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _whole(value)
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else {"!": "i", "v": str(value)}
    if kind is float:
        return value if math.isfinite(value) else {"!": "f", "v": repr(value)}
    if isinstance(value, EncryptedString):
        return encode(str(value), depth + 1)
    if isinstance(value, str):
        tag = Origin.get_tag(value)
        trusted = TrustedAsTemplate.is_tagged_on(value)
        plain = _whole(str.__str__(value))
        if not tag and not trusted:
            return plain
        written = {"!": "s", "v": plain}
        if trusted:
            written["t"] = True
        if tag:
            written["o"] = place(tag)
        return written
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return encode(int(value), depth + 1)
    if isinstance(value, float):
        return encode(float(value), depth + 1)
    if isinstance(value, _jinja_common.Marker):
        return {"!": "u", "v": str(value._undefined_message)}
    if value is Omit:
        return {"!": "omit"}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"!": "b", "v": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime.datetime):
        return {"!": "m", "v": datetime.datetime.isoformat(value), "timed": True}
    if isinstance(value, datetime.date):
        return {"!": "m", "v": value.isoformat(), "timed": False}
    if isinstance(value, Lazy):
        return {"!": "map", "n": value._number, "k": value._kind}
    if isinstance(value, collections.abc.Mapping):
        entries = [(encode(key, depth + 1), encode(item, depth + 1)) for key, item in value.items()]
        if all(type(key) is str for key, _ in entries) and "!" not in value:
            return dict(entries)
        plain = all(isinstance(key, str) for key in value)
        if plain and "!" not in value:
            return {str.__str__(key): item for key, (_, item) in zip(value, entries)}
        return {"!": "d", "v": [(encode(key, depth + 3), encode(item, depth + 3)) for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"!": "t", "v": [encode(item, depth + 2) for item in value]}
    if isinstance(value, list):
        return [encode(item, depth + 1) for item in value]
    if isinstance(value, (range, collections.abc.Iterator, collections.abc.KeysView, collections.abc.ValuesView, collections.abc.ItemsView)):
        return [encode(item, depth + 1) for item in value]
    if isinstance(value, AnsibleTaggedObject):
        return encode(value._native_copy(), depth + 1)
    return keep(value)


def kept():
    """How many values are kept here."""
    return len(_kept)
