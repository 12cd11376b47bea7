// Reads AsyncAPI documents, a JSON list on stdin, by the parser of AsyncAPI; prints for each its channels and its errors.
import { readFileSync } from "node:fs";
import asyncapi from "@asyncapi/parser";

const parser = new asyncapi.Parser();
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const { document, diagnostics } = await parser.parse(text);
  const errors = diagnostics.filter((each) => each.severity < 2).map((each) => `${each.path.join(".")}: ${each.message}`);
  const channels = (document?.channels().all() ?? []).map((each) => [each.address(), each.messages().all().length]);
  console.log(JSON.stringify({ channels, errors }));
}
