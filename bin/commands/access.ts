import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { text as readAll } from 'node:stream/consumers'
import { SeaportError, whyUnread } from '../../lib/identity.js'
import { bounded } from '../bounded.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS } from '../flags.js'
import { changeSecret, readSecret } from '../secret-file.js'

/** What a browser can send in a head, as base64. */
const MAX_PASSWORD_BYTES = 4096

/** Keeps the file that `web --auth` reads. */
export const access: Command = {
  verb: 'access',
  flags: {
    auth: {
      describe: 'The file, as for web',
      needed: 'the file that web --auth reads',
      isFile: true
    },
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
    const without = (lines: string[]) => {
      const kept = lines.filter((line) => line.split(':')[1] !== name)
      if (removed !== null && kept.length === lines.length) {
        throw SeaportError.NOT_FOUND(`${file} has no ${name}`)
      }
      const isReplaced = lines.some(
        (line) => line.split(':')[1] === name && !(person !== null && line.startsWith('basic:'))
      )
      if (removed === null && isReplaced && !settings.on('replace')) {
        throw SeaportError.USAGE(
          `${name} is in ${file} already, and what it has would be of no use any more: say --replace for that`
        )
      }
      return kept
    }
    const write = (...added: string[]) =>
      changeSecret(file, (before) => {
        const text = textOf([...without(linesOf(before)), ...added])
        // Never a file that `web` would not take.
        new AccessList({ text })
        return text
      })
    if (removed !== null) return write()
    // Nobody is asked for a password in vain.
    without(readLines(file))
    if (person !== null) {
      const password = process.stdin.isTTY
        ? await askUnseen(`password for ${name}: `)
        : (await readAll(passwordIn(process.stdin))).replace(/\r?\n$/, '')
      if (password === '') throw SeaportError.USAGE('the password is expected on stdin')
      return write(await makePerson(name, password, reach))
    }
    const made = makeToken(name, reach)
    await write(made.line)
    console.log(made.token)
  }
}

function passwordIn(input: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  return bounded(input, MAX_PASSWORD_BYTES, () =>
    SeaportError.USAGE(
      `what is on stdin is no password, which has at most ${MAX_PASSWORD_BYTES} bytes`
    )
  )
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
    return linesOf(readSecret(file))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw SeaportError.BAD_CONFIG(`${file} cannot be read (${whyUnread(cause)})`, cause)
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter(Boolean)
}

function textOf(lines: string[]): string {
  return lines.map((line) => `${line}\n`).join('')
}
