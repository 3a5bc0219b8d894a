import { resolve } from 'node:path'
import t, { type Test } from 'tap'
import { Cli } from './cli.js'

const ENGINE = resolve(import.meta.dirname, '../../bin/engine.js')
const SOCKETS = 20_000
/** Four hidden classes for each of them take twelve times as much. */
const MAX_BYTES = 2 * 1024 * 1024

const skip = process.versions.v8.startsWith('11.') ? false : 'V8 has no quick way to copy any more'

/** Makes sockets as `net.Server` does, and prints by how much the old generation grew. */
const SCRIPT = `
import { Socket } from 'node:net'
import { getHeapSpaceStatistics } from 'node:v8'
const used = () =>
  getHeapSpaceStatistics().find((space) => space.space_name === 'old_space').space_used_size
const make = (count) => {
  for (let i = 0; i < count; i++) {
    new Socket({ handle: null, allowHalfOpen: true, pauseOnCreate: false, readable: true, writable: true })
  }
}
`

t.test(
  'sockets that come and go leave no hidden classes in the old generation',
  { skip },
  async (t) => {
    const cli = new Cli(t)
    const program = cli.write(
      'sockets.mjs',
      `import ${JSON.stringify(ENGINE)}
    ${SCRIPT}
    make(1000)
    const before = used()
    make(${SOCKETS})
    console.log(used() - before)`
    )
    await growsLittle(t, cli, program)
  }
)

t.test('nor do they after the code was forgotten', { skip }, async (t) => {
  const cli = new Cli(t)
  const program = cli.write(
    'forgotten.mjs',
    `import { setFlagsFromString } from 'node:v8'
    import { runInNewContext } from 'node:vm'
    import ${JSON.stringify(ENGINE)}
    ${SCRIPT}
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc')
    // What is not called for several collections is forgotten.
    for (let i = 0; i < 20; i++) {
      collect()
      await new Promise((resolve) => setImmediate(resolve))
    }
    make(1000)
    const before = used()
    make(${SOCKETS})
    console.log(used() - before)`
  )
  await growsLittle(t, cli, program)
})

async function growsLittle(t: Test, cli: Cli, program: string) {
  const { stdout, stderr } = await cli.run([], { program })
  t.equal(stderr, '')
  t.match(stdout, /^-?\d+\n$/)
  t.ok(Number(stdout) < MAX_BYTES, stdout)
}
