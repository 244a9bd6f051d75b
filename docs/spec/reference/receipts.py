#!/usr/bin/env python3
"""Checks receipts: python3 receipts.py [--did DID] PATH...
A PATH is a file of receipts, a checkpoint (*.ckpt), or a CAR.
"""
import argparse, json, os, struct, sys
from collections import Counter
from hashlib import sha256
from types import SimpleNamespace
from verify import ZERO, did, examine, kind_of, need, parse_did, read_file, signature_problem

EXECUTION, PAYMENT, ONCHAIN = b"igor/execution-receipt/v1\0", b"igor/payment-receipt/v1\0", b"igor/x402-receipt/v1\0"
RENT = b"igor/rent-receipt/v1\0"

def parse(data):  # receipts.md, File
    while data:
        if data.startswith(EXECUTION):
            size = 290
            need(len(data) >= size, "a receipt is cut short")
            agent, node, prev, checkpoint, *numbers = struct.unpack_from("<32s32s32s32sQQQqqqqqq", data, len(EXECUTION))
            fields = dict(zip(("tick", "ticks", "elapsed", "price", "added", "cost", "paid", "budget", "time"), numbers))
            receipt = SimpleNamespace(signer=node, agent=agent, prev=prev, checkpoint=checkpoint, nonce=None, **fields)
            receipt.amounts = numbers[3:8]
        elif data.startswith(ONCHAIN):  # x402.md, Receipts
            size = 315
            need(len(data) >= size, "a receipt is cut short")
            payer, nonce, *_, amount = struct.unpack_from("<32s32sQQ20s20s20sq", data, len(ONCHAIN))
            receipt = SimpleNamespace(signer=payer, agent=payer, nonce=ONCHAIN + nonce, tick=0, amounts=[amount])
        elif data.startswith(RENT):  # rent.md, Receipt for rent
            size = 385
            need(len(data) >= size, "a receipt is cut short")
            agent, node, paid_by, amount, nonce, _, prev, _, count = struct.unpack_from("<32s32s48s20xq32s32s32s32sQ", data, len(RENT))
            receipt = SimpleNamespace(signer=node, agent=agent, nonce=RENT + paid_by + nonce, tick=0, amounts=[amount], after=(node, prev) if count else None)
        else:
            need(data.startswith(PAYMENT), "no receipt, or one that is cut short")
            need(len(data) >= 172, "a receipt is cut short")
            payer, nonce, amount, _, recipient, memo = struct.unpack_from("<32s32sqqHH", data, len(PAYMENT))
            need(0 < recipient <= 256 and memo <= 1024, "a length over its limit")
            size = 172 + recipient + memo
            need(len(data) >= size, "a receipt is cut short")
            receipt = SimpleNamespace(signer=payer, agent=payer, nonce=nonce, tick=0, amounts=[amount])
        receipt.bytes, receipt.hash, data = data[:size], sha256(data[:size]).digest(), data[size:]
        yield receipt

def check(receipts, checkpoints, pinned=None):  # receipts.md, Checking; checkpoints are None, or have been examined
    need(receipts, "there are no receipts")
    problems = []
    def found(code, receipt=None):
        problems.append({"code": code, "tick": str(receipt.tick if receipt else 0)})
    distinct = sorted({r.hash: r for r in receipts}.values(), key=lambda r: (r.tick, r.hash))
    authentic = []
    for r in distinct:
        code = signature_problem(r.signer, r.bytes[-64:], r.bytes[:-64])
        if code:
            found(code, r)
        else:
            authentic.append(r)
    supplied = {c.hash: c for c in checkpoints or [] if c.version == 4 and c.authentic}

    owners = [c.key for c in sorted(supplied.values(), key=lambda c: (c.tick, c.hash))] + [r.agent for r in authentic]
    counts = Counter(owners)  # The agent
    lives = sorted(counts, key=lambda key: -counts[key])  # of as many, in the order of what they have first
    agent = pinned or (lives[0] if lives else None)
    for key in lives:
        if key != agent and any(c.key == key for c in supplied.values()):
            found("identity-mismatch")

    by, after, nonces, judged, payments, executions = {}, set(), set(), [], 0, 0
    for r in authentic:
        if r.agent != agent:
            found("identity-mismatch", r)
            continue
        if r.nonce is not None:
            payments += not r.nonce.startswith((ONCHAIN, RENT))
            for once in {r.nonce, getattr(r, "after", None)} - {None}:
                if once in nonces:
                    found("conflict", r)
                nonces.add(once)
        else:
            executions += 1
            if r.checkpoint in by or r.prev in after:
                found("conflict", r)
            if r.checkpoint in by:
                continue
            by[r.checkpoint] = r
            after.add(r.prev)
        if min(r.amounts) < 0:
            found("negative-amount", r)
        elif r.nonce is None:
            judged.append(r)

    for r in judged:
        c = supplied.get(r.checkpoint)
        if checkpoints is not None and not c:
            found("unknown-checkpoint", r)
        if c and (c.prev, c.tick, c.budget, c.price) != (r.prev, r.tick, r.budget, r.price):
            found("checkpoint-mismatch", r)
        before = supplied.get(r.prev) or by.get(r.prev)
        if r.prev == ZERO:
            tick, budget = 0, 0
        elif before:
            tick, budget = before.tick, before.budget
        else:
            tick, budget = None, None
        if r.prev == ZERO:
            wrong = r.ticks not in (0, r.tick)
        else:
            wrong = r.ticks == 0 or r.ticks > r.tick or tick is not None and r.ticks != r.tick - tick
        if wrong:
            found("tick-mismatch", r)
        if budget is not None and (budget < 0 or budget + r.added != r.cost + r.paid + r.budget):
            found("budget-mismatch", r)
    for _ in (set(supplied) | {r.prev for r in by.values()} - {ZERO}) - set(by):
        found("missing-receipt")

    codes = {p["code"] for p in problems}
    verdict = "verified" if not codes else "incomplete" if codes <= {"unknown-checkpoint", "missing-receipt"} else "invalid"
    return {"verdict": verdict, "did": did(agent) if agent else None, "executions": executions, "payments": payments,
            "duplicates": len(receipts) - len(distinct), "problems": problems}

def main():
    options = argparse.ArgumentParser(allow_abbrev=False)
    options.add_argument("--did", type=parse_did)
    options.add_argument("paths", nargs="+")
    wanted, receipts, checkpoints = options.parse_intermixed_args(), [], None
    try:
        for path in wanted.paths:
            with open(path, "rb") as file:
                data = file.read()
            name = os.fsencode(os.path.basename(path))
            if name not in (b"receipts", b"receipts.x402") and kind_of(name, data[:512]) in ("checkpoint", "car", "carv2"):
                read = [examine(name, b, sha256(b).digest()) for name, b in read_file(path, name, None, {})]
                checkpoints = (checkpoints or []) + read
            else:
                receipts += parse(data)
        report = check(receipts, checkpoints, wanted.did)
    except (ValueError, OSError) as error:
        options.exit(2, "receipts.py: %r\n" % error)
    print(json.dumps(report, indent=2))
    sys.exit({"verified": 0, "invalid": 1, "incomplete": 3}[report["verdict"]])

if __name__ == "__main__":
    main()
