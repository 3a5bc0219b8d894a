import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { connect as connectNats, JSONCodec } from 'nats'
import ProtomuxRPC from 'protomux-rpc'
import { parseBootstrap } from '../../lib/core/bootstrap-list.js'
import { HyperDHT, SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair } from '../../lib/core/keys.js'
import { Consumer } from '../../lib/index.js'
import { Gathered } from './gathered.js'
import { type Kind, ROLE, type Talker } from './protocols.js'

export interface ClientOptions {
  /** As the server said it. */
  at: string
  bootstrap: string
  registryPublicKey: string
  dir: string
  /** How many subscribe. */
  subscribers: number
}

const TIMEOUT_MS = 30_000

/** Connects to what `SERVERS` started. */
export const CLIENTS: Record<Kind, (options: ClientOptions) => Promise<Talker>> = {
  'plain TCP': async ({ at }) => {
    const socket = connect(Number(at), '127.0.0.1')
    await once(socket, 'connect')
    const gathered = new Gathered(socket)
    const waiting: ((value: unknown) => void)[] = []
    createInterface({ input: socket }).on('line', (line) => waiting.shift()?.(JSON.parse(line)))
    return echoing((data) => {
      gathered.write(data)
      return new Promise((resolve) => waiting.push(resolve))
    })
  },

  'protomux-rpc, TCP': async ({ at }) => {
    const socket = connect({ port: Number(at), host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const keyPair = KeyPair()
    return overRpc(new SecretStream(true, socket, { keyPair } as never))
  },

  'protomux-rpc, UDX': async ({ at, bootstrap }) => {
    const dht = new HyperDHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1' })
    return overRpc(dht.connect(Buffer.from(at, 'hex')))
  },

  'NATS micro': async ({ at }) => {
    const connection = await connectNats({ servers: at })
    const { encode, decode } = JSONCodec()
    const ask = async (subject: string, data: unknown) => {
      const message = await connection.request(subject, encode(data), { timeout: TIMEOUT_MS })
      return message.data.byteLength > 0 ? decode(message.data) : undefined
    }
    return {
      echo: (data) => ask('echo', data),
      tell: (count) => ask('tell', count),
      subscribe: async (onevent) => {
        connection.subscribe('events', {
          callback: (_, { data }) => {
            decode(data)
            onevent()
          }
        })
        await connection.flush()
      }
    }
  },

  'hyperseaport, direct': seaport,
  'hyperseaport, UDX': seaport
}

async function seaport({ at, subscribers, ...where }: ClientOptions): Promise<Talker> {
  const { registryPublicKey, bootstrap, dir } = where
  const roles = Array.from({ length: Math.max(1, subscribers) }, () => `${at}@1.x`)
  const consumer = Consumer(roles, { registryPublicKey, bootstrap, dir, listen: false })
  const entries = await consumer.setup()
  const [entry] = entries
  if (!entry?.role.startsWith(ROLE)) throw new Error(`nobody serves ${at}`)
  let next = 0
  return {
    echo: (data) => entry.send('echo', data),
    tell: (count) => entry.send('tell', count),
    subscribe: async (onevent) => {
      const { events } = entries[next++] ?? entry
      events.on('TICK', onevent)
      await events.ready()
    }
  }
}

async function overRpc(connection: SecretStream): Promise<Talker> {
  const rpc = new ProtomuxRPC(connection)
  await rpc.fullyOpened()
  return echoing(async (data) =>
    JSON.parse(`${await rpc.request('echo', Buffer.from(JSON.stringify(data)))}`)
  )
}

function echoing(echo: Talker['echo']): Talker {
  const refuse = () => Promise.reject(new Error('only hyperseaport and NATS have events here'))
  return { echo, subscribe: refuse, tell: refuse }
}
