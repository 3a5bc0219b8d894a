import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import type { CallContext } from '../../lib/messaging/call-context.js'
import { checkOwnName } from '../../lib/messaging/names.js'
import { StdioProgram } from '../../lib/messaging/stdio-program.js'
import { restWhile } from '../rest.js'

/** A program that runs until the test ends. */
async function running(t: Test, code: string, backoffs?: number[]) {
  const file = join(t.testdir({}), 'program.mjs')
  await writeFile(file, code)
  const notices: string[] = []
  const program = new StdioProgram({
    command: [process.execPath, file],
    onevent: (type) => void checkOwnName(type, 'an event'),
    onstate: async (name) => checkOwnName(name, 'an entry'),
    onclients: async () => null,
    onnotice: ({ text }: SeaportError) => notices.push(text),
    grace: 100,
    backoffs
  })
  t.teardown(() => program.stop())
  await program.start()
  const ask = (name: string, data?: unknown, signal = new AbortController().signal) =>
    program.ask(name, data, { peer: '', signal, deadline: Date.now() + 60_000 } as CallContext)
  return { program, ask, notices }
}

/** Writes what it is asked with, in which ID stands for the id of the request. */
const PARROT = `
import { createInterface } from 'node:readline'
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line)
  if (method === 'say') console.log(params.replace('ID', id))
  if (method === 'echo') console.log(JSON.stringify({ jsonrpc: '2.0', id, result: params }))
}
`

const TROUBLES = [
  '{"id":{"valueOf":1,"toString":1},"result":1}',
  '{"id":"1","result":2}',
  '{"id":1.5,"result":2}',
  '{"id":null,"error":{"code":-32700,"message":"what?"}}',
  '{"id":ID}',
  '{"method":"event"}',
  '{"method":"event","params":{"type":{"toString":1}}}',
  '{"method":"state.set","params":null}',
  '{"method":"state.delete","params":{"name":{"toString":1}}}',
  '[{"method":"event","params":{"type":"TICK"}}]'
]

t.test('whatever a program writes is reported, and fatal to nothing', async (t) => {
  const { ask, notices } = await running(t, PARROT)
  for (const line of TROUBLES) {
    notices.length = 0
    const leave = new AbortController()
    const said = t.rejects(ask('say', line, leave.signal))
    t.equal(await ask('echo', 'still here'), 'still here')
    await restWhile(() => notices.length === 0)
    t.equal(notices.length, 1, line)
    leave.abort()
    await said
  }
})

const FAILURES = [
  ['{"id":ID,"error":{"message":{"toString":1}}}', 'it did not say why', ''],
  ['{"id":ID,"error":{"code":{"toString":1},"message":"no"}}', 'no', ''],
  ['{"id":ID,"result":null,"error":{"code":"ENO","message":"no"}}', 'no', 'ENO'],
  ['{"id":ID,"error":null}', 'it did not say why', '']
] as const

t.test('an error is one, however it is written', async (t) => {
  const { ask, notices } = await running(t, PARROT)
  for (const [line, message, code] of FAILURES) {
    await t.rejects(ask('say', line), { message, code }, line)
  }
  t.same(notices, [])
})

t.test('a program that does not read is not given more than it may hold', async (t) => {
  const { ask } = await running(t, 'setInterval(() => {}, 1000)')
  const leave = new AbortController()
  const body = 'x'.repeat(1024 ** 2)
  const asked = Array.from({ length: 40 }, () => ask('load', body, leave.signal))
  const codes = asked.map((one) =>
    one.catch((error) => [error.reason?.code, error.reason?.executed].join())
  )
  leave.abort()
  const busy = (await Promise.all(codes)).filter((code) => code === 'BUSY,no').length
  t.ok(busy > 20 && busy < 30, `${busy} of 40 were turned away`)
})

t.test('a program that has closed its stdin is asked nothing more', async (t) => {
  const { ask } = await running(
    t,
    "import { closeSync } from 'node:fs'; closeSync(0); setInterval(() => {}, 1000)"
  )
  const outcome = async () => {
    for (;;) {
      try {
        await ask('echo', 1, AbortSignal.timeout(20))
      } catch (error) {
        const { reason } = error as { reason?: SeaportError }
        if (reason) return [reason.code, reason.executed]
      }
    }
  }
  t.same(await outcome(), ['REFUSED', 'no'])
})

t.test('a program that has closed its stdout is ended, and starts again', async (t) => {
  const code = `
import { closeSync, existsSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
if (!existsSync(import.meta.filename + '.once')) {
  writeFileSync(import.meta.filename + '.once', '')
  closeSync(1)
}
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify({ jsonrpc: '2.0', id: JSON.parse(line).id, result: 'here' }))
}
`
  const { program, ask, notices } = await running(t, code, [0])
  const lost = await ask('echo').catch(({ reason }) => [reason.code, reason.executed])
  t.same(lost, ['LINK_LOST', 'perhaps'])
  await restWhile(() => program.stats.starts < 2)
  t.equal(await ask('echo'), 'here')
  t.match(notices, [/closed its stdout/, /starts again/])
})

t.test('no caller speaks to a program as a browser does', async (t) => {
  const { ask } = await running(t, PARROT)
  for (const name of ['clients.connect', 'clients.message', 'clients.disconnect']) {
    const outcome = await ask(name, { client: { id: 'ada' } }).catch(({ reason }) => reason)
    t.match(outcome, { code: 'UNKNOWN_COMMAND', executed: 'no' }, name)
  }
})

t.test('what a program has started ends with it, and with a process that is killed', async (t) => {
  const url = import.meta.resolve('../../lib/messaging/stdio-program.js')
  const holder = async (end: string) => {
    const run = `
      const { StdioProgram } = await import(${JSON.stringify(url)})
      const command = ['sh', '-c', 'sleep 1000 & echo $! >&2; wait']
      const program = new StdioProgram({ command, onnotice: () => {}, grace: 100 })
      await program.start()
      console.error('started')
      process.stdin.once('data', async () => { ${end} })`
    const child = spawn(process.execPath, ['--input-type=module', '-e', run], {
      env: { ...process.env, NODE_OPTIONS: '' },
      stdio: ['pipe', 'ignore', 'pipe']
    })
    t.teardown(() => child.kill('SIGKILL'))
    let text = ''
    for await (const piece of child.stderr) {
      text += piece
      if (/\d\n/.test(text) && text.includes('started')) break
    }
    child.stdin.write('end\n')
    return Number(/\d+/.exec(text))
  }
  const isThere = (pid: number) => {
    const stat = `/proc/${pid}/stat`
    return existsSync(stat) && !/\) Z /.test(readFileSync(stat, 'utf8'))
  }
  for (const end of [
    'await program.stop(); setInterval(() => {}, 1000)',
    'process.kill(process.pid, "SIGKILL")'
  ]) {
    const grandchild = await holder(end)
    await restWhile(() => isThere(grandchild))
  }
})
