import { buffer } from 'node:stream/consumers'
import { readSmallFile, SeaportError, whyUnread } from '../../lib/identity.js'
import { ADMIN_FLAGS, openAdmin } from '../administration.js'
import { bounded } from '../bounded.js'
import type { Command } from '../command.js'
import { decodeText } from '../config.js'
import { say } from '../talk.js'

const { json: _, ...FLAGS } = ADMIN_FLAGS
/** More than `export` prints of any registry. */
const MAX_BACKUP_BYTES = 256 * 1024 * 1024

/** Brings a backup back. */
export const importRegistry: Command = {
  verb: 'import',
  positional: 'file',
  flags: {
    file: {
      describe: 'What export printed',
      needed: "the file that 'hyperseaport export' was printed to, or -",
      commandLineOnly: true,
      isFile: true
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
    if (file !== '-') return decodeText(readSmallFile(file, { maxBytes: MAX_BACKUP_BYTES }))
    return decodeText(await buffer(bounded(process.stdin, MAX_BACKUP_BYTES, tooLarge)))
  } catch (error) {
    if (error instanceof SeaportError) throw error
    throw SeaportError.USAGE(`${file} cannot be read (${whyUnread(error)})`)
  }
}

function tooLarge(): SeaportError {
  return SeaportError.USAGE('what is on stdin has more than 256 MiB, and is no backup')
}
