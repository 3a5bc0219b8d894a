import { createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { connect as connectNats, JSONCodec } from 'nats'
import ProtomuxRPC from 'protomux-rpc'
import { parseBootstrap } from '../../lib/core/bootstrap-list.js'
import { HyperDHT, SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Service } from '../../lib/index.js'
import { Gathered } from './gathered.js'
import { type Kind, PAYLOAD, ROLE } from './protocols.js'

export interface ServerOptions {
  bootstrap: string
  registryPublicKey: string
  /** Where NATS is. */
  nats: string
  dir: string
}

/** Starts what echoes and tells events. Resolves with where it is. */
export const SERVERS: Record<Kind, (options: ServerOptions) => Promise<string>> = {
  'plain TCP': async () => {
    const server = createServer((socket) => {
      const gathered = new Gathered(socket)
      createInterface({ input: socket }).on('line', (line) => gathered.write(JSON.parse(line)))
    })
    return portOf(server)
  },

  'protomux-rpc, TCP': async () => {
    const keyPair = KeyPair()
    const server = createServer((socket) => {
      socket.setNoDelay(true)
      answer(new SecretStream(false, socket, { keyPair } as never))
    })
    return portOf(server)
  },

  'protomux-rpc, UDX': async ({ bootstrap }) => {
    const dht = new HyperDHT({
      bootstrap: parseBootstrap(bootstrap),
      host: '127.0.0.1',
      firewalled: false
    } as never)
    const keyPair = KeyPair()
    await dht.createServer({}, answer).listen(keyPair)
    return toHex(keyPair.publicKey)
  },

  'NATS micro': async ({ nats }) => {
    const connection = await connectNats({ servers: nats })
    const { encode, decode } = JSONCodec()
    const service = await connection.services.add({ name: ROLE, version: '1.0.0' })
    service.addEndpoint('echo', {
      handler: (error, message) => void (error ?? message.respond(encode(decode(message.data))))
    })
    service.addEndpoint('tell', {
      handler: (_, message) => {
        const count = decode(message.data) as number
        for (let i = 0; i < count; i++) connection.publish('events', encode(PAYLOAD))
        message.respond()
      }
    })
    await connection.flush()
    return nats
  },

  'hyperseaport, direct': (options) => seaport(options, 'lan'),
  'hyperseaport, UDX': (options) => seaport(options, 'off')
}

async function seaport(
  { bootstrap, registryPublicKey, dir }: ServerOptions,
  direct: 'lan' | 'off'
): Promise<string> {
  const role = `${ROLE}-${direct}`
  const service = Service({
    registryPublicKey,
    bootstrap,
    dir,
    role: `${role}@1.0.0`,
    direct,
    commands: {
      echo: (data) => data,
      tell: (count: number) => {
        for (let i = 0; i < count; i++) service.events.emit('TICK', PAYLOAD)
      }
    }
  })
  await service.setup()
  return role
}

function answer(connection: SecretStream) {
  connection.on('error', () => {})
  const rpc = new ProtomuxRPC(connection)
  rpc.respond('echo', (data) => Buffer.from(JSON.stringify(JSON.parse(`${data}`))))
}

function portOf(server: ReturnType<typeof createServer>): Promise<string> {
  server.on('connection', (socket: Socket) => socket.on('error', () => {}))
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`${(server.address() as { port: number }).port}`))
  })
}
