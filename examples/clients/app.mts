// Asks the mapper about a loan, with the types of its OpenAPI document.
//
//   npx openapi-typescript http://127.0.0.1:8080/openapi.json -o examples/clients/mapper.d.ts
//   node examples/clients/app.mts http://127.0.0.1:8080
import type { components } from "./mapper.d.ts";

type Schemas = components["schemas"];
type Answer = Schemas["Answer"];
type Loan = Schemas["Record"];

/** An error that the mapper answered with (RFC 9457). */
class ProblemError extends Error {
  readonly status: number;
  readonly problem: Schemas["Problem"];

  constructor(status: number, problem: Schemas["Problem"]) {
    super(`${problem.title} (${status}): ${problem.detail}`);
    this.name = "ProblemError";
    this.status = status;
    this.problem = problem;
  }
}

/** The answer of the mapper; asks again while it is busy or unreachable. Throws ProblemError and fetch's own errors. */
async function explain(url: string, data: Loan, retries = 3, timeoutMs = 30_000): Promise<Answer> {
  for (let attempt = 0; ; attempt++) {
    const isLast = attempt === retries;
    let pauseMs = 200 * 2 ** attempt;
    try {
      const reply = await fetch(`${url}/v1/explain`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ data }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      if (reply.ok) return (await reply.json()) as Answer;
      if (isLast || (reply.status !== 502 && reply.status !== 503)) {
        throw new ProblemError(reply.status, (await reply.json()) as Schemas["Problem"]);
      }
      pauseMs = Math.max(pauseMs, 1000 * Number(reply.headers.get("Retry-After") ?? 0));
    } catch (error) {
      // fetch throws a TypeError when nobody answers.
      if (isLast || !(error instanceof TypeError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs * (1 + Math.random() / 2)));
  }
}

const url = process.argv[2] ?? "http://127.0.0.1:8080";
const loan: Loan = {
  amount: 8850,
  months: 72,
  income: 31100,
  age: 56,
  housing: "own",
  employed: true,
  purpose: "furniture",
  channel: "online",
};

try {
  const answer = await explain(url, loan);
  for (const row of answer.predictions ?? []) {
    console.log(`${row.prediction} (${row.probability.toFixed(2)})`);
    console.log(`  because ${row.explanation?.rule?.text}`);
    for (const found of row.explanation?.counterfactuals ?? []) console.log(`  else ${found.text}`);
  }
  // What does not fit is reported row by row, field by field.
  await explain(url, { ...loan, amount: "much" });
} catch (error) {
  if (!(error instanceof ProblemError)) throw error;
  console.log(error.message);
  for (const fault of error.problem.errors ?? []) console.log(`  ${fault.field}: ${fault.message}`);
}
