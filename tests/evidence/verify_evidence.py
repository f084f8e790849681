#!/usr/bin/env python3
"""Judges an evidence file of Liên Thông, sharing no code with the program that made it.

    verify_evidence.py FILE [--policy FILE]

Needs Python 3.9 and the package `cryptography`. Formats: RFC 6962 (Merkle tree), C2SP signed-note, tlog-checkpoint,
tlog-cosignature and tlog-policy, protobuf wire encoding; the numbers of fields are those of
proto/lienthong/audit/v1/record.proto, audit.proto and control/v1/rights.proto. Exit code 0: everything holds.
"""
import base64
import hashlib
import json
import struct
import sys

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

failures = []


def check(holds, what):
    print(("  ok   " if holds else "  FAIL ") + what)
    if not holds:
        failures.append(what)
    return holds


def sha256(data):
    return hashlib.sha256(data).digest()


def unbase64(text):
    return base64.b64decode(text, validate=True)


# protobuf: a message as {field number: [values]}; length-delimited values are bytes, others integers.
def message(data):
    fields, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("varint too long")

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        elif kind == 1:
            value, at = data[at:at + 8], at + 8
        elif kind == 5:
            value, at = data[at:at + 4], at + 4
        elif kind == 2:
            length = varint()
            if at + length > len(data):
                raise ValueError("a field ends behind its message")
            value, at = data[at:at + length], at + length
        else:
            raise ValueError("wire type %d" % kind)
        fields.setdefault(key >> 3, []).append(value)
    return fields


def one(fields, number, default=b""):
    return fields.get(number, [default])[-1]


# RFC 6962: leaf, node, root of a list, root that a path leads to.
def leaf(data):
    return sha256(b"\x00" + data)


def node(left, right):
    return sha256(b"\x01" + left + right)


def root_of(hashes_):
    if not hashes_:
        return sha256(b"")
    if len(hashes_) == 1:
        return hashes_[0]
    split = 1
    while split * 2 < len(hashes_):
        split *= 2
    return node(root_of(hashes_[:split]), root_of(hashes_[split:]))


def root_by_path(index, size, at, path):
    """RFC 9162 section 2.1.3.2."""
    if index >= size:
        return None
    first, last = index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if first % 2 == 1 or first == last:
            at = node(sibling, at)
            while first % 2 == 0 and first != 0:
                first, last = first >> 1, last >> 1
        else:
            at = node(at, sibling)
        first, last = first >> 1, last >> 1
    return at if last == 0 else None


# C2SP signed-note, tlog-checkpoint, tlog-policy.
class Key:
    def __init__(self, text):
        self.name, key_id, key = text.split("+", 2)
        self.id, raw = bytes.fromhex(key_id), unbase64(key)
        self.kind, self.key = raw[0], raw[1:]
        if sha256(self.name.encode() + b"\n" + raw)[:4] != self.id:
            raise ValueError("the key id of %s is not of its key" % self.name)

    def signed(self, text, signature):
        public = ed25519.Ed25519PublicKey.from_public_bytes(self.key)
        try:
            if self.kind == 1:
                public.verify(signature, text.encode())
            elif self.kind == 4:
                (time,) = struct.unpack(">Q", signature[:8])
                public.verify(signature[8:], ("cosignature/v1\ntime %d\n" % time + text).encode())
            else:
                return False
            return True
        except (InvalidSignature, struct.error):
            return False


def read_note(note):
    text, _, signatures = note.rpartition("\n\n")
    found = []
    for line in signatures.splitlines():
        mark, name, signature = line.split(" ")
        if mark != "\u2014":
            raise ValueError("not a signature line")
        raw = unbase64(signature)
        found.append((name, raw[:4], raw[4:]))
    return text + "\n", found


def judge_checkpoint(note, policy):
    text, signatures = read_note(note)
    origin, size, root = text.splitlines()[:3]

    def has_signed(key):
        mine = [s for name, key_id, s in signatures if (name, key_id) == (key.name, key.id)]
        return bool(mine) and all(key.signed(text, s) for s in mine)

    if policy is None:
        print("  -    no policy: who signed the checkpoint is not judged")
    else:
        logs, groups, quorum = [], {"none": (0, [])}, "none"
        for line in policy.splitlines():
            words = line.split("#")[0].split()
            if not words:
                continue
            if words[0] == "log":
                logs.append(Key(words[1]))
            elif words[0] == "witness":
                groups[words[1]] = Key(words[2])
            elif words[0] == "group":
                members = words[3:]
                need = {"all": len(members), "any": 1}.get(words[2]) or int(words[2])
                groups[words[1]] = (need, members)
            elif words[0] == "quorum":
                quorum = words[1]
            else:
                raise ValueError("the policy says " + line)

        def holds(name):
            of = groups[name]
            if isinstance(of, Key):
                return has_signed(of)
            need, members = of
            return sum(holds(member) for member in members) >= need

        # Whom the policy does not name may sign what he likes; a false signature of whom it names spoils the note.
        named = logs + [key for key in groups.values() if isinstance(key, Key)]
        lines = [(key, s) for key in named for name, key_id, s in signatures if (name, key_id) == (key.name, key.id)]
        check(all(key.signed(text, s) for key, s in lines), "no signature of a key of the policy is false")
        check(any(key.name == origin and has_signed(key) for key in logs), "the log signed the checkpoint")
        check(holds(quorum), "the quorum of witnesses signed the checkpoint")
    return int(size), unbase64(root)


# A file holds no more records of an exchange; of more, the newest.
RECORDS_MAX = 2000

# Records.
BODIES = {10: "opening", 11: "closing", 12: "denial", 13: "progress", 15: "seal", 16: "bundle", 18: "continuation"}


def body(record):
    for number, name in BODIES.items():
        if number in record:
            return name, message(one(record, number))
    return "other", {}


def in_log(found, size, root, what):
    entry = unbase64(found["entry"])
    path = [unbase64(step) for step in found["path"]]
    proved = root_by_path(found["index"], size, leaf(entry), path) == root
    check(proved, what + " is in the log under the checkpoint")
    return message(entry) if proved else None


def verify_signature(public, signed, signature):
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            by_curve = {256: hashes.SHA256(), 384: hashes.SHA384()}
            public.verify(signature, signed, ec.ECDSA(by_curve[public.curve.key_size]))
        elif isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, signed)
        elif isinstance(public, rsa.RSAPublicKey):
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
            public.verify(signature, signed, pss, hashes.SHA256())
        else:
            return False
        return True
    except (InvalidSignature, KeyError):
        return False


def seconds(timestamp):
    return one(message(timestamp), 1, 0)


def judge(evidence, policy):
    if evidence["format"] != "lienthong-evidence/v1":
        raise ValueError("not an evidence file of format v1")
    exchange_id = unbase64(evidence["exchange_id"])
    check(len(exchange_id) == 16, "the exchange has an id of 16 bytes")
    size, root = judge_checkpoint(evidence["checkpoint"], policy)

    check(bool(evidence["records"]), "there is a record of the exchange")
    records = []
    for found in evidence["records"]:
        what = "record %d" % found["index"]
        record = in_log(found, size, root, what)
        if record is None:
            continue
        kind, of = body(record)
        exchange = message(one(of, 1)) if kind != "progress" else {}
        belongs = one(of, 1) if kind == "progress" else one(exchange, 1)
        if check(belongs == exchange_id, what + " is of this exchange"):
            records.append((found["index"], leaf(unbase64(found["entry"])), one(record, 3).decode(), kind, of, exchange))

    certificates = {}
    for of in evidence["certificates"]:
        der = unbase64(of["certificate"])
        certificates[sha256(der)] = x509.load_der_x509_certificate(der)

    signed = set()
    for batch in evidence["batches"]:
        what = "seal %d" % batch["seal"]["index"]
        record = in_log(batch["seal"], size, root, what)
        if record is None:
            continue
        kind, seal = body(record)
        if not check(kind == "seal" and one(record, 3) == b"broker", what + " is a seal of the broker"):
            continue
        header_bytes = one(seal, 1)
        header = message(header_bytes)
        leaves = [unbase64(text) for text in batch["leaf_hashes"]]
        covers = one(header, 16, 0) == len(leaves) and one(header, 15) == root_of(leaves)
        check(covers, "the header under %s states the records of its batch" % what)
        certificate = certificates.get(one(seal, 3))
        if check(certificate is not None, what + " names a certificate that is here"):
            at = seconds(one(header, 7))
            begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
            check(begin <= at <= end, what + ": the certificate was valid then")
            text = b"lienthong/journal-batch/v1\n" + header_bytes
            good = verify_signature(certificate.public_key(), text, one(seal, 2))
            check(good, "%s: %s signed its batch" % (what, one(header, 1).decode()))
            first = one(seal, 4, 0)
            for index, hash_, recorder, *_ in records:
                place = index - first
                if good and covers and recorder == one(header, 1).decode() and 0 <= place < len(leaves) and leaves[place] == hash_:
                    signed.add(index)
    for index, _, recorder, *_ in records:
        check(index in signed, "record %d stands in a batch of %s" % (index, recorder))

    for index, _, recorder, kind, of, _ in records:
        said = one(of, 20, 0) if kind == "closing" else 0
        if said:
            parts = {
                one(other, 3, 0)
                for _, _, by, what, other, _ in records
                if what == "continuation" and by == recorder and one(other, 2) == one(of, 2)
            }
            if len(records) < RECORDS_MAX:
                check(set(range(1, said + 1)) <= parts, "the %d continuations of record %d are here" % (said, index))

    closings = {one(exchange, 3, 0): of for _, _, _, kind, of, exchange in records if kind == "closing"}
    if 1 in closings and 2 in closings:
        consumer, provider = closings[1], closings[2]
        ours, theirs = message(one(consumer, 1)), message(one(provider, 1))
        alike = all(ours.get(number) == theirs.get(number) for number in (4, 5, 7, 9, 10, 11, 13, 14))
        check(alike, "both sides say who asked whom for what")
        check(one(consumer, 7) == one(provider, 7), "both sides digested the same request")
        check(one(consumer, 8) == one(provider, 8), "both sides digested the same answer")
        check(one(consumer, 3) in (b"", one(provider, 2)), "the consumer's record names the provider's opening record")

    for bundle in evidence["bundles"]:
        what = "bundle %d" % bundle["published"]["index"]
        record = in_log(bundle["published"], size, root, what)
        if record is None:
            continue
        kind, published = body(record)
        if not check(kind == "bundle" and one(record, 3) == b"broker", what + " is a publication of the broker"):
            continue
        audience, epoch = one(published, 1).decode(), one(published, 2, 0)
        rights = [one(exchange, 15).decode() for _, _, recorder, _, _, exchange in records if recorder == audience and 15 in exchange]
        decided = bool(rights) and all(epoch <= int(right.rpartition("@")[2]) for right in rights)
        check(decided, "%s of epoch %d was there when %s decided" % (what, epoch, audience))
        content = unbase64(bundle["bundle"])
        if content:
            check(sha256(content) == one(published, 3), what + " has the content that was published")
    return not failures


def main(arguments):
    path = arguments[0]
    policy = open(arguments[arguments.index("--policy") + 1]).read() if "--policy" in arguments else None
    try:
        genuine = judge(json.load(open(path)), policy)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        check(False, "the file can be read: %s" % error)
        genuine = False
    print("NOT GENUINE" if not genuine else "GENUINE" if policy else "INTEGRITY ONLY, SIGNER NOT JUDGED")
    return 0 if genuine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
