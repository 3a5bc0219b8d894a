import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { SeaportError } from '../../lib/identity.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS } from '../flags.js'

const OWNER_ONLY = 0o600

/** Keeps the file that `web --auth` reads. */
export const access: Command = {
  verb: 'access',
  flags: {
    auth: { describe: 'The file, as for web', needed: 'the file that web --auth reads' },
    token: { describe: 'Make a token of this name, and print it, once', commandLineOnly: true },
    person: {
      describe: 'Give a person of this name the password on stdin; a terminal is asked for it',
      commandLineOnly: true
    },
    replace: {
      kind: 'switch',
      describe: 'Give a new token to a name that has one already',
      commandLineOnly: true
    },
    remove: { describe: 'Take away the token or person of this name', commandLineOnly: true },
    reach: {
      kind: 'list',
      describe: 'Roles they may reach: api@^2, @team/*@2.x, or *; repeat it for several',
      commandLineOnly: true
    },
    ...COMMON_FLAGS
  },
  examples: [
    [
      'access --auth access.txt --token ci --reach "api@^2"',
      'Print a token; send it as Authorization: Bearer'
    ],
    [
      'access --auth access.txt --person ada --reach "*" < password.txt',
      'Let Ada in from her browser'
    ],
    ['access --auth access.txt --remove ci', 'And no more']
  ],

  async run(settings) {
    const file = settings.path('auth')
    const token = settings.text('token', null)
    const person = settings.text('person', null)
    const removed = settings.text('remove', null)
    const reach = settings.list('reach')
    const [name, ...others] = [token, person, removed].filter((name) => name !== null)
    if (name === undefined || others.length > 0) {
      throw SeaportError.USAGE('say one of --token NAME, --person NAME or --remove NAME')
    }
    if (removed === null && reach.length === 0) {
      throw SeaportError.USAGE(`what may ${name} reach? Say --reach with a role, or '*' for all`)
    }
    const { AccessList, makePerson, makeToken } = await import('../../lib/access-file.js')
    const write = (lines: string[]) => {
      // Never a file that `web` would not take.
      new AccessList({ text: textOf(lines) })
      writeSecret(file, textOf(lines))
    }
    const lines = readLines(file)
    const kept = lines.filter((line) => line.split(':')[1] !== name)
    if (removed !== null) {
      if (kept.length === lines.length) throw SeaportError.NOT_FOUND(`${file} has no ${name}`)
      return write(kept)
    }
    const isReplaced = lines.some(
      (line) => line.split(':')[1] === name && !(person !== null && line.startsWith('basic:'))
    )
    if (isReplaced && !settings.on('replace')) {
      throw SeaportError.USAGE(
        `${name} is in ${file} already, and what it has would be of no use any more: say --replace for that`
      )
    }
    if (person !== null) {
      const password = process.stdin.isTTY
        ? await askUnseen(`password for ${name}: `)
        : (await readAll(process.stdin)).replace(/\r?\n$/, '')
      if (password === '') throw SeaportError.USAGE('the password is expected on stdin')
      return write([...kept, await makePerson(name, password, reach)])
    }
    const made = makeToken(name, reach)
    write([...kept, made.line])
    console.log(made.token)
  }
}

/** Asks whoever sits at the terminal, which shows nothing of the answer. */
function askUnseen(question: string): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true })
  process.stderr.write(question)
  return new Promise((resolve, reject) => {
    const end = () => {
      terminal.close()
      process.stderr.write('\n')
    }
    terminal.once('line', (line) => {
      resolve(line)
      end()
    })
    terminal.once('SIGINT', () => {
      reject(SeaportError.USAGE('no password was given'))
      end()
    })
    terminal.once('close', () => resolve(''))
  })
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return []
    throw SeaportError.BAD_CONFIG(`${file} cannot be read (${code})`, cause)
  }
}

function textOf(lines: string[]): string {
  return lines.map((line) => `${line}\n`).join('')
}

function writeSecret(file: string, text: string) {
  try {
    writeFileSync(file, text, { mode: OWNER_ONLY })
    chmodSync(file, OWNER_ONLY)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw SeaportError.STORAGE_FAILED(`${file} cannot be written (${code})`, cause)
  }
}
