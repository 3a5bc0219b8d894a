import t from 'tap'
import { Cli } from './cli.js'

/** A folder that is never made, and nothing that is under way. */
const NEVER = `
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
fs.mkdir = () => new Promise(() => {})
syncBuiltinESMExports()
`

t.test('a command that cannot go on, and has nothing left to wait for, fails aloud', async (t) => {
  const cli = new Cli(t)
  const nodeFlags = ['--import', cli.write('never.mjs', NEVER)]
  const { code, stderr } = await cli.run(['app', 'create', 'shop'], { nodeFlags })
  t.equal(code, 1)
  t.match(stderr, /^nothing is left to wait for/)
})
