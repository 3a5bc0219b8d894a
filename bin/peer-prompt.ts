import { SeaportError } from '../lib/identity.js'
import type { MailMessage, MailPeer, Peer } from '../lib/index.js'
import { printable } from '../lib/printing.js'
import { lineOf, whyItWaits } from './mailing.js'

/** So many letters are shown again by `inbox`. */
const MAX_SHOWN = 100
const HELP = `connect KEY [host:port]   link with a peer
discover                  list the peers that are new
send KEY|ROLE@RANGE TEXT  write a letter
peers                     list all peers
inbox                     show the letters of this run again
block KEY                 take no more letters of a key
detach                    leave this prompt; the peer goes on
exit                      end the peer`

/** What can be said at the prompt of a peer, here or attached from elsewhere. */
export class PeerPrompt {
  readonly #peer: Peer
  readonly #known = new Set<string>()
  readonly #letters: MailMessage[] = []

  constructor(peer: Peer) {
    this.#peer = peer
  }

  /** Remembers a letter that was printed. */
  take(message: MailMessage) {
    this.#letters.push(message)
    if (this.#letters.length > MAX_SHOWN) this.#letters.shift()
  }

  /** Executes one line. Never rejects: what went wrong is printed. */
  async execute(line: string, print: (text: string) => void): Promise<'exit' | 'detach' | null> {
    const [, verb = '', rest = ''] = /^\s*(\S*)\s*(.*?)\s*$/s.exec(line) ?? []
    if (verb === '') return null
    if (verb === 'exit' || verb === 'detach') return verb
    try {
      await this.#do(verb, rest, print)
    } catch (error) {
      print(error instanceof Error ? error.message : String(error))
    }
    return null
  }

  async #do(verb: string, rest: string, print: (text: string) => void) {
    const [, first = '', others = ''] = /^(\S*)\s*(.*)$/s.exec(rest) ?? []
    switch (verb) {
      case 'connect': {
        const key = await this.#keyOf(first)
        const { path, rtt } = await this.#peer.reach(key, others || undefined)
        return print(`connected to ${key} (${path}${rtt === null ? '' : `, ${rtt.toFixed(1)} ms`})`)
      }
      case 'discover': {
        const peers = this.#peer.peers().filter(({ key }) => !this.#known.has(key))
        for (const peer of peers) this.#known.add(peer.key)
        return print(peers.length > 0 ? peers.map(shown).join('\n') : 'nobody new')
      }
      case 'send':
        return this.#send(first, others, print)
      case 'peers': {
        const peers = this.#peer.peers()
        return print(peers.length > 0 ? peers.map(shown).join('\n') : 'nobody else is there')
      }
      case 'inbox': {
        for await (const message of this.#peer.inbox()) this.take(message)
        const lines = this.#letters.map(lineOf)
        return print(lines.length > 0 ? lines.join('\n') : 'no letters')
      }
      case 'block':
        await this.#peer.block(await this.#keyOf(first))
        return print(`no more letters of ${first} are taken`)
      case 'help':
        return print(HELP)
      default:
        return print(
          `there is no ${JSON.stringify(printable(verb))} here; help lists what there is`
        )
    }
  }

  async #send(first: string, text: string, print: (text: string) => void) {
    if (text === '') throw SeaportError.USAGE('send needs a key or a role, and what to say')
    const to = first.includes('@') ? first : await this.#keyOf(first)
    const letter = await this.#peer.send(to, text)
    const { id } = letter
    letter.on('receipt', (receipt) => {
      const { status, code } = receipt
      const isWaiting = status === 'queued' || status === 'unreachable'
      print(`${status} ${id}${isWaiting ? `: ${whyItWaits(receipt, true)}` : code && ` ${code}`}`)
    })
    print(`${letter.status} ${id}`)
  }

  /** A peer may be given by its name, too, if one alone has it. */
  async #keyOf(text: string): Promise<string> {
    const named = this.#peer.peers().filter(({ name }) => name !== '' && name === text)
    if (named.length === 1 && named[0]) return named[0].key
    const { parseKey, toHex } = await import('../lib/identity.js')
    return toHex(parseKey(text, 'key of a peer'))
  }
}

function shown({ key, name, live }: MailPeer): string {
  return `${key} ${printable(name) || '-'}${live ? '' : ' (not seen of late)'}`
}
