import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { SeaportError } from '../../lib/identity.js'
import { ADMIN_FLAGS, openAdmin } from '../administration.js'
import type { Command } from '../command.js'
import { say } from '../talk.js'

const { json: _, ...FLAGS } = ADMIN_FLAGS

/** Brings a backup back. */
export const importRegistry: Command = {
  verb: 'import',
  positional: 'file',
  flags: {
    file: {
      describe: 'What export printed',
      needed: "the file that 'hyperseaport export' was printed to, or -",
      commandLineOnly: true
    },
    ...FLAGS
  },
  examples: [['import backup.jsonl', 'Into a registry that lost its disks, not its seed']],

  async run(settings, lifetime) {
    const lines = (await readText(settings.path('file'))).split('\n')
    const admin = await openAdmin(settings, lifetime)
    say(`${await admin.import(lines)} grants and revocations taken`)
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await (file === '-' ? text(process.stdin) : readFile(file, 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw SeaportError.USAGE(`${file} cannot be read (${code})`)
  }
}
