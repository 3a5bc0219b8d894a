import { resolve } from 'node:path'
import t from 'tap'
import { Cli } from '../bin/cli.js'

const LETTERS = 100_000
const AT_ONCE = 64
const MIB = 1024 * 1024
const MAX_RESIDENT = 200 * MIB

t.test(
  'a mailbox of 100 000 letters takes little more than they do, is there again, and gives its disk back',
  { timeout: 400_000 },
  async (t) => {
    const cli = new Cli(t)
    const program = resolve(import.meta.dirname, 'fixtures/mailbox.js')
    const args = [cli.path('mailbox'), String(LETTERS), String(AT_ONCE)]
    const filled = cli.start(args, { program })
    const line = await filled.waitForLine('mailbox=', 200_000)
    const { rate, sealed, full, resident, restart, restartCpu, letters, emptied } = JSON.parse(line)
    t.equal(letters, LETTERS)
    t.comment(
      `${Math.round(rate)} were kept a second, and read again in ${Math.round(restart)} ms (${Math.round(restartCpu)} of CPU)`
    )
    t.ok(full <= 1.3 * sealed, `${full} bytes on disk of ${sealed} that were sealed`)
    t.ok(resident <= MAX_RESIDENT, `${Math.round(resident / MIB)} MiB resident`)
    t.ok(emptied <= full / 10, `${emptied} bytes when all had expired`)
  }
)
