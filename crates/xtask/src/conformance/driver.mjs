// Drives the npm package http-cache-tests for `cargo xtask conformance`, in one of two ways:
//
//   node driver.mjs origin PACKAGE PORT              the suite's own origin, on 127.0.0.1 only
//   node driver.mjs run PACKAGE PROXY ORIGIN [ID..]  its tests through a forward proxy; one JSON object
//
// It changes nothing of what the suite asks, serves or judges. It gives the suite its `fetch`: node's own adds
// `Cache-Control: no-cache` to conditional requests and repeats requests by itself, so that a cache is asked
// something else than the test says. The suite's command line uses node-fetch 2, which does neither but cannot
// speak to a proxy; what follows sends what node-fetch 2 sends, in absolute form.

import http from 'node:http'
import { pathToFileURL } from 'node:url'

const [mode, folder, ...rest] = process.argv.slice(2)
const suite = file => import(`${pathToFileURL(folder)}/${file}`)

/** The suite's server takes its settings from npm's environment and listens on every address of the machine. */
async function serve (port) {
  process.env.npm_config_protocol = 'http'
  process.env.npm_config_port = port
  process.env.npm_config_pidfile = '/dev/null'
  const listen = http.Server.prototype.listen
  http.Server.prototype.listen = function (port) { return listen.call(this, port, '127.0.0.1') }
  await suite('server/server.mjs')
}

/** Runs all tests, or those named and with every message shown, and prints what came of each. */
async function run (proxy, origin, wanted) {
  const { default: suites } = await suite('tests/index.mjs')
  const { runTests, getResults } = await suite('client/runner.mjs')
  const display = await suite('lib/display.mjs')
  const asked = suites.map(each => ({ ...each, tests: each.tests.filter(test => !wanted.length || wanted.includes(test.id)) }))
  if (wanted.length) asked.forEach(each => each.tests.forEach(test => { test.dump = true }))
  await runTests(asked, (url, init) => fetchThrough(new URL(proxy), url, init), false, origin)
  const results = getResults()
  const tests = asked.flatMap(each => each.tests.map(test => ({
    suite: each.name,
    id: test.id,
    name: test.name,
    kind: test.kind || 'required',
    outcome: outcome(display, suites, test, results, !wanted.length),
    detail: Array.isArray(results[test.id]) ? results[test.id].join(': ') : ''
  })))
  console.log(JSON.stringify({ node: process.version, tests }))
}

/** The suite's own judgement, which takes the tests into account that a test depends on, where they were run too. */
function outcome (display, suites, test, results, all) {
  if (test.browser_only) return 'not_asked'
  const words = {
    '✅': 'pass', '⛔️': 'fail', '⚠️': 'fail', Y: 'yes', N: 'no', '🔹': 'setup', '⚪️': 'dependency', '↻': 'retry'
  }
  return words[display.determineTestResult(suites, test.id, results, all)[2]] || 'harness'
}

/** `fetch` as far as the suite uses it: a connection for each request, and no field but those that node-fetch sends. */
function fetchThrough (proxy, url, init = {}) {
  return new Promise((resolve, reject) => {
    const headers = [['Host', new URL(url).host], ...(init.headers || []).map(([name, value]) => [name, String(value)])]
    const absent = name => !headers.some(header => header[0].toLowerCase() === name)
    if (absent('accept')) headers.push(['Accept', '*/*'])
    if (absent('user-agent')) headers.push(['User-Agent', 'http-cache-tests'])
    if (init.body !== undefined) {
      if (absent('content-type')) headers.push(['Content-Type', 'text/plain;charset=UTF-8'])
      headers.push(['Content-Length', String(Buffer.byteLength(init.body))])
    }
    const options = { host: proxy.hostname, port: proxy.port, path: url, method: init.method || 'GET', headers: headers.flat(), agent: false }
    const request = http.request(options, answer => {
      const followed = [301, 302, 303, 307, 308].includes(answer.statusCode) && answer.headers.location
      // No test of the suite leads here; should a later one do, it must not be asked half.
      if (followed && init.redirect !== 'manual') reject(new TypeError('this fetch does not follow redirects'))
      else resolve(new Answer(answer))
    })
    request.on('error', reject)
    // A request without an answer is a test not passed, not a run without an end.
    request.setTimeout(60_000, () => request.destroy(new Error('no answer within a minute')))
    request.end(init.body)
  })
}

/** What the suite reads of a `Response`. Status 999, which the suite's origin sends, is none that `Response` takes. */
class Answer {
  constructor (answer) {
    this.status = answer.statusCode
    this.statusText = answer.statusMessage
    const headers = new Map()
    for (let at = 0; at < answer.rawHeaders.length; at += 2) {
      const name = answer.rawHeaders[at].toLowerCase()
      const before = headers.get(name)
      headers.set(name, before === undefined ? answer.rawHeaders[at + 1] : `${before}, ${answer.rawHeaders[at + 1]}`)
    }
    this.headers = {
      get: name => headers.get(name.toLowerCase()) ?? null,
      has: name => headers.has(name.toLowerCase()),
      forEach: call => headers.forEach((value, name) => call(value, name)),
      [Symbol.iterator]: () => headers.entries()
    }
    // The content is read at once, as node-fetch does: an answer that nobody reads would hold its connection.
    this.content = new Promise((resolve, reject) => {
      const chunks = []
      answer.on('data', chunk => chunks.push(chunk))
      answer.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
      answer.on('error', reject)
    })
    this.content.catch(() => {})
  }

  text () { return this.content }
}

if (mode === 'origin') await serve(rest[0])
else if (mode === 'run') await run(rest[0], rest[1], rest.slice(2))
else throw new Error(`unknown mode ${mode}`)
