"""Roles of functions."""

import dataclasses
import functools
from typing import Any

from ministack.core import iam_evaluator


def tell_roles_who_assumes_them() -> None:
    """Set aws:SourceAccount and aws:SourceArn when Lambda assumes a role.

    Upstream lets the root of an account act for services, but sets neither key. So a trust policy that guards against
    the confused deputy refuses Lambda as well.
    """
    evaluate = iam_evaluator.evaluate_trust_policy

    @functools.wraps(evaluate)
    def evaluate_with_source(trust_doc: Any, caller_arn: str, ctx: Any = None) -> bool:
        if ctx is not None and ctx.principal_type == "Root":
            account, session = ctx.principal_account, ctx.service_context.get("sts:rolesessionname")
            source = {
                "aws:sourceaccount": account,
                # The host names the session after the function, as Lambda does.
                "aws:sourcearn": f"arn:aws:lambda:{ctx.region}:{account}:function:{session}",
            }
            ctx = dataclasses.replace(ctx, service_context={**ctx.service_context, **source})
        return evaluate(trust_doc, caller_arn, ctx)  # type: ignore[no-any-return]

    iam_evaluator.evaluate_trust_policy = evaluate_with_source
