// Asks another evaluator of IAM policies: reads questions as JSON, one a line, and prints its answers, one a line.
// That package is AGPL-3.0. It runs in a process of its own, is no part of this repository and nothing here needs it:
//   npm install --prefix <folder> @cloud-copilot/iam-simulate
//   IAM_SIMULATE=<folder> pytest tests/modules/test_who_may_what.py -k another_evaluator

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { runSimulation } = createRequire(`${process.env.IAM_SIMULATE}/`)("@cloud-copilot/iam-simulate");
const everything = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "*", Resource: "*" }] };
const control = { orgIdentifier: "o-1", policies: [{ name: "everything", policy: everything }] };

for await (const line of createInterface({ input: process.stdin })) {
  const { principal, policies, boundary, resourcePolicy, action, resource, account, context } = JSON.parse(line);
  const named = (documents) => documents.map((policy, index) => ({ name: `policy-${index}`, policy }));
  const answer = await runSimulation(
    {
      identityPolicies: named(policies),
      serviceControlPolicies: [control],
      resourceControlPolicies: [],
      permissionBoundaryPolicies: boundary ? named([boundary]) : undefined,
      resourcePolicy: resourcePolicy ?? undefined,
      request: { principal, action, resource: { resource, accountId: account }, contextVariables: context },
    },
    {},
  );
  console.log(JSON.stringify({ result: answer.overallResult ?? answer.resultType, errors: answer.errors ?? null }));
}
