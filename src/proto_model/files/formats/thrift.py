"""Structures of Thrift's compact protocol, in which Parquet writes its footer and the heads of its pages."""

from __future__ import annotations

from collections.abc import Callable

from proto_model.errors import InputError

#: Numbers, structures and lists of structures, by the number of their field; other fields are left out.
Fields = dict[int, "int | Fields | list[Fields]"]

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_NUMBERS = frozenset((_I16, _I32, _I64))
_MOST_LEVELS = 16
_CHECK_EVERY = 4096


class Damaged(InputError):
    """Bytes that are no such structure."""


class Compact:
    """Reads structures from bytes; raises IndexError where these end too early."""

    def __init__(self, data: bytes, at: int = 0, check: Callable[[], None] = lambda: None) -> None:
        self.data, self.at = data, at
        self._check, self._n_structs = check, 0

    def struct(self, kept_list: int = 0, levels: int = _MOST_LEVELS) -> Fields:
        """Next structure; of its lists only the one of a field is kept.

        Raises Damaged where fields do not ascend: one may appear twice, and readers differ on which counts.
        """
        if levels == 0:
            raise Damaged("The Parquet file is damaged: too many levels.")
        self._n_structs += 1
        if self._n_structs % _CHECK_EVERY == 0:
            self._check()
        fields: Fields = {}
        data, number = self.data, -1 << 16
        while True:
            head = data[self.at]
            self.at += 1
            kind = head & 15
            if kind == _STOP:
                return fields
            if head >> 4:
                number = max(number, 0) + (head >> 4)
            else:
                last, number = number, self._signed()
                if number <= last:
                    raise Damaged(f"The Parquet file is damaged: field {number} appears after field {last}.")
            if kind in _NUMBERS:
                value = data[self.at]
                if value < 128:  # most are, and heads of pages are many
                    self.at += 1
                    fields[number] = (value >> 1) ^ -(value & 1)
                else:
                    fields[number] = self._signed()
            elif kind == _BINARY:
                n_bytes = self._varint()
                self.at += n_bytes
            elif kind == _STRUCT:
                fields[number] = self.struct(levels=levels - 1)
            elif kind in (_LIST, _SET) and number == kept_list:
                fields[number] = self._structs(levels - 1)
            elif kind not in (_TRUE, _FALSE):  # whose value is their kind
                self._skip(kind, levels - 1)

    def _structs(self, levels: int) -> list[Fields]:
        n_items, kind = self._list_head()
        if kind != _STRUCT:
            raise Damaged("The Parquet file is damaged: a list of structures expected.")
        return [self.struct(levels=levels) for _ in range(n_items)]

    def _list_head(self) -> tuple[int, int]:
        head = self.data[self.at]
        self.at += 1
        n_items = self._varint() if head >> 4 == 15 else head >> 4
        if n_items > len(self.data):
            raise Damaged("The Parquet file is damaged: a list is longer than the file.")
        return n_items, head & 15

    def _skip(self, kind: int, levels: int) -> None:
        """Pass over a value that is no part of a field's head."""
        if kind in (_TRUE, _FALSE, _BYTE):
            self.at += 1
        elif kind in _NUMBERS:
            self._varint()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            n_bytes = self._varint()
            self.at += n_bytes
        elif kind in (_LIST, _SET):
            n_items, inner = self._list_head()
            for _ in range(n_items):
                self._skip(inner, levels)
        elif kind == _MAP:
            self._skip_map(levels)
        elif kind == _STRUCT:
            self.struct(levels=levels)
        else:
            raise Damaged(f"The Parquet file is damaged: unknown type {kind}.")

    def _skip_map(self, levels: int) -> None:
        n_items = self._varint()
        if n_items > len(self.data):
            raise Damaged("The Parquet file is damaged: a map is longer than the file.")
        kinds = self.data[self.at] if n_items else 0
        self.at += bool(n_items)
        for _ in range(n_items):
            self._skip(kinds >> 4, levels)
            self._skip(kinds & 15, levels)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise Damaged("The Parquet file is damaged: a number is too long.")

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
