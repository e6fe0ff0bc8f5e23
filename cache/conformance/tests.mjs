// Prints the suite's tests as JSON: [{suite, id, name, kind, depends}]
import { pathToFileURL } from 'node:url'

const dir = pathToFileURL(process.argv[2] + '/')
const suites = (await import(new URL('tests/index.mjs', dir))).default
const surrogate = (await import(new URL('tests/surrogate-control.mjs', dir))).default
const out = []
for (const suite of [...suites, surrogate]) {
  for (const test of suite.tests) {
    if (test.browser_only) continue
    out.push({ suite: suite.name, id: test.id, name: test.name, kind: test.kind || 'required', depends: test.depends_on || [] })
  }
}
console.log(JSON.stringify(out))
