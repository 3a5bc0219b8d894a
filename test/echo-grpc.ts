import { once } from 'node:events'
import {
  type Client,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
  type sendUnaryData,
  status
} from '@grpc/grpc-js'
import type { Test } from 'tap'

/** Bytes are messages as they are. */
export const asIs = (bytes: Buffer) => bytes
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs
})
const ECHO = {
  one: method('One', false, false),
  many: method('Many', false, true),
  collect: method('Collect', true, false),
  both: method('Both', true, true)
} satisfies ServiceDefinition

/** A server of gRPC whose methods answer with what they were sent. */
export function echoServer(t: Test): Server {
  const server = new Server()
  server.addService(ECHO, {
    one: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const text = String(call.request)
      if (text === 'fail') return done({ code: status.NOT_FOUND, details: 'no such thing' })
      const trailers = new Metadata()
      trailers.set('x-sum', String(text.length))
      trailers.set('x-said', String(call.metadata.get('x-say')[0] ?? ''))
      done(null, call.request, trailers)
    },
    many: (call: ServerWritableStream<Buffer, Buffer>) => {
      for (let i = 0; i < 3; i++) call.write(Buffer.from(`${call.request}${i}`))
      call.end()
    },
    collect: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const parts: Buffer[] = []
      call.on('data', (part: Buffer) => parts.push(part))
      call.on('end', () => done(null, Buffer.concat(parts)))
    },
    both: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (part: Buffer) => call.write(part))
      call.on('end', () => call.end())
    }
  })
  t.teardown(() => server.forceShutdown())
  return server
}

/** Has it listen, and returns its port. */
export function portOfEcho(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port)
    )
  })
}

/** Everything that gRPC has, between a client and `echoServer`. */
export async function converse(t: Test, client: Client) {
  const metadata = new Metadata()
  metadata.set('x-say', 'hello')
  const { one, many, collect, both } = ECHO
  const trailers = await new Promise<Metadata>((resolve, reject) => {
    let metadataOfEnd: Metadata
    const call = client.makeUnaryRequest(
      one.path,
      asIs,
      asIs,
      Buffer.from('ping'),
      metadata,
      (error, value) => {
        if (error) return reject(error)
        t.equal(String(value), 'ping', 'unary')
      }
    )
    call.on('status', (end) => {
      metadataOfEnd = end.metadata
      resolve(metadataOfEnd)
    })
  })
  t.strictSame(trailers.get('x-sum'), ['4'], 'trailers')
  t.strictSame(trailers.get('x-said'), ['hello'], 'metadata')

  const error = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest(one.path, asIs, asIs, Buffer.from('fail'), (error) => resolve(error))
  })
  t.match(error, { code: status.NOT_FOUND, details: 'no such thing' }, 'a failure')
  const unknown = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest('/test.Echo/None', asIs, asIs, Buffer.from('x'), (error) =>
      resolve(error)
    )
  })
  t.match(unknown, { code: status.UNIMPLEMENTED }, 'a method that is not there')

  const streamed: string[] = []
  const stream = client.makeServerStreamRequest(many.path, asIs, asIs, Buffer.from('a'))
  stream.on('data', (part) => streamed.push(String(part)))
  await once(stream, 'end')
  t.strictSame(streamed, ['a0', 'a1', 'a2'], 'a stream from the server')

  const collected = await new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(collect.path, asIs, asIs, (error, value) =>
      error ? reject(error) : resolve(String(value))
    )
    for (const part of ['b', 'c', 'd']) call.write(Buffer.from(part))
    call.end()
  })
  t.equal(collected, 'bcd', 'a stream from the client')

  const talk = client.makeBidiStreamRequest(both.path, asIs, asIs)
  for (let i = 0; i < 3; i++) {
    talk.write(Buffer.from(`${i}`))
    const [heard] = await once(talk, 'data')
    t.equal(String(heard), `${i}`, 'both ways, by turns')
  }
  talk.end()
  talk.resume()
  await once(talk, 'end')

  const large = Buffer.alloc(3 * 1024 * 1024, 'x')
  const echoed = await new Promise<Buffer>((resolve, reject) => {
    client.makeUnaryRequest(one.path, asIs, asIs, large, (error, value) =>
      error ? reject(error) : resolve(value as Buffer)
    )
  })
  t.ok(large.equals(echoed), '3 MiB each way')
}
