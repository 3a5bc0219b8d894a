/**
 * Published clients of databases: what each does with its server, it does over streams, and by a port, alike.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { AbstractConnector, type CommonRedisOptions, Redis } from 'ioredis'
import type { Connection as CallbackConnection } from 'mysql2'
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise'
import pg from 'pg'
import t, { type Test } from 'tap'
import { Consumer } from '../../lib/index.js'
import { Harbor } from '../gateway/harbor.js'
import { noOpenssl } from '../openssl.js'
import { mariadb, noServer, PASSWORD, postgres, redis, USER } from './servers.js'

const LARGE = Buffer.alloc(2 * 1024 * 1024, 'large')
const SHORT_MS = 100

/** How a client reaches the server. */
interface Way {
  who: 'node' | 'stream' | 'port'
  port: number
  /** A stream, which is typed as the socket that the clients ask for. */
  connect(): Promise<Socket>
}

/** Each call by each way: what comes of it at the server itself is the measure. */
async function compare(
  t: Test,
  role: string,
  serverPort: number,
  calls: Record<string, (way: Way) => Promise<unknown>>
) {
  const harbor = await Harbor.make(t)
  await harbor.service(role, serverPort)
  const [name = ''] = role.split('@')
  const consumer = Consumer([name], { ...harbor.options, dir: await harbor.testbed.dir() })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  const connect = async () => (await entry.connect()) as Socket
  for (const [name, call] of Object.entries(calls)) {
    const measure = await call({ who: 'node', port: serverPort, connect })
    const ways: Way[] = [
      { who: 'stream', port: 0, connect },
      { who: 'port', port: entry.port, connect }
    ]
    for (const way of ways) t.strictSame(await call(way), measure, `${name}, by ${way.who}`)
  }
}

function failure(asked: Promise<unknown>): Promise<{ code: string | undefined; message: string }> {
  return asked.then(
    () => assert('it did not fail'),
    ({ code, message }) => ({ code, message })
  )
}

const noPostgres = noServer('postgres', 'initdb') || noOpenssl

t.test('pg, with PostgreSQL', { skip: noPostgres }, async (t) => {
  const access = { host: '127.0.0.1', user: USER, password: PASSWORD, database: 'postgres' }
  const optionsOf = async ({ who, port, connect }: Way) => {
    if (who !== 'stream') return { ...access, port }
    const stream = await connect()
    return { ...access, stream: () => stream }
  }
  const withClient = async <T>(
    way: Way,
    use: (client: pg.Client) => Promise<T>,
    options: pg.ClientConfig = {}
  ) => {
    const client = new pg.Client({ ...(await optionsOf(way)), ...options })
    client.on('error', () => {})
    await client.connect()
    const result = await use(client)
    await client.end()
    return result
  }
  await compare(t, 'postgres@15.0.0', await postgres(t), {
    'a query with parameters': (way) =>
      withClient(way, async (client) => {
        const { rows } = await client.query('SELECT $1::int + 1 AS sum, $2::text AS text', [1, 'é'])
        return rows
      }),
    'a prepared statement, twice': (way) =>
      withClient(way, async (client) => {
        const ask = (value: number) =>
          client.query({ name: 'twice', text: 'SELECT $1::int * 2 AS twice', values: [value] })
        return [(await ask(1)).rows, (await ask(2)).rows]
      }),
    'much, there and back': (way) =>
      withClient(way, async (client) => {
        const { rows } = await client.query('SELECT $1::bytea AS bytes', [LARGE])
        return LARGE.equals(rows[0].bytes)
      }),
    'many rows': (way) =>
      withClient(way, async (client) => {
        const { rows } = await client.query('SELECT n FROM generate_series(1, 50000) AS n')
        return [rows.length, rows.at(-1)]
      }),
    'a transaction that is taken back': (way) =>
      withClient(way, async (client) => {
        await client.query('CREATE TEMPORARY TABLE kept (n int)')
        await client.query('BEGIN')
        await client.query('INSERT INTO kept VALUES (1)')
        await client.query('ROLLBACK')
        return (await client.query('SELECT * FROM kept')).rows
      }),
    'a notification': (way) =>
      withClient(way, async (listener) => {
        await listener.query('LISTEN news')
        const heard = once(listener, 'notification')
        await withClient(way, (client) => client.query(`NOTIFY news, 'hello'`))
        const [{ channel, payload }] = (await heard) as [pg.Notification]
        return { channel, payload }
      }),
    'a pool of four': async (way) => {
      const streams =
        way.who === 'stream' ? await Promise.all(Array.from({ length: 4 }, way.connect)) : []
      const pool = new pg.Pool({
        ...access,
        max: 4,
        ...(way.who === 'stream'
          ? { stream: () => streams.pop() ?? assert('a fifth stream is asked for') }
          : { port: way.port })
      })
      const all = Array.from({ length: 40 }, (_, i) => pool.query('SELECT $1::int AS i', [i]))
      const sums = (await Promise.all(all)).map(({ rows }) => rows[0].i)
      await pool.end()
      return sums
    },
    TLS: (way) =>
      withClient(
        way,
        async (client) =>
          (await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).rows,
        { ssl: { rejectUnauthorized: false } }
      ),
    'a wrong password': (way) =>
      failure(withClient(way, () => Promise.resolve(), { password: 'another' })),
    'an error of the server': (way) =>
      withClient(way, (client) => failure(client.query('SELECT FROM WHERE'))),
    'a query that takes too long': (way) =>
      withClient(way, (client) => failure(client.query('SELECT pg_sleep(10)')), {
        query_timeout: SHORT_MS
      }),
    'a connection that the server ends': async (way) => {
      const client = new pg.Client(await optionsOf(way))
      await client.connect()
      const failures: unknown[] = []
      client.on('error', ({ message }) => failures.push(message))
      const ended = new Promise((resolve) => client.once('end', resolve))
      const asked = await failure(client.query('SELECT pg_terminate_backend(pg_backend_pid())'))
      await ended
      return [asked, failures]
    }
  })
})

t.test('mysql2, with MariaDB', { skip: noServer('mariadbd') }, async (t) => {
  const access = { host: '127.0.0.1', user: USER, password: PASSWORD, database: 'test' }
  const withClient = async <T>(
    { who, port, connect }: Way,
    use: (client: Connection) => Promise<T>,
    options: mysql.ConnectionOptions = {}
  ) => {
    const place = who === 'stream' ? { stream: await connect() } : { port }
    const client = await mysql.createConnection({ ...access, ...place, ...options })
    client.on('error', () => {})
    const result = await use(client)
    await client.end()
    return result
  }
  await compare(t, 'mariadb@10.11.0', await mariadb(t), {
    'a query with parameters': (way) =>
      withClient(
        way,
        async (client) => (await client.query('SELECT ? + 1 AS sum, ? AS text', [1, 'é']))[0]
      ),
    'a prepared statement, twice': (way) =>
      withClient(way, async (client) => {
        const ask = async (value: number) =>
          (await client.execute('SELECT ? * 2 AS twice', [value]))[0]
        return [await ask(1), await ask(2)]
      }),
    'much, there and back': (way) =>
      withClient(way, async (client) => {
        const [rows] = await client.query<RowDataPacket[]>('SELECT BINARY ? AS bytes', [LARGE])
        return LARGE.equals(rows[0]?.bytes)
      }),
    'many rows, as a stream': (way) =>
      withClient(way, async (client) => {
        let sum = 0
        // Only what is beneath the promises has streams, and its types keep that to themselves.
        const { connection } = client as unknown as { connection: CallbackConnection }
        const rows = connection.query('SELECT seq FROM seq_1_to_50000').stream({ highWaterMark: 5 })
        for await (const { seq } of rows) sum += seq
        return sum
      }),
    'a transaction that is taken back': (way) =>
      withClient(way, async (client) => {
        await client.query('CREATE TEMPORARY TABLE kept (n int) ENGINE=InnoDB')
        await client.beginTransaction()
        await client.query('INSERT INTO kept VALUES (1)')
        await client.rollback()
        return (await client.query('SELECT * FROM kept'))[0]
      }),
    'a pool of four': async (way) => {
      const streams =
        way.who === 'stream' ? await Promise.all(Array.from({ length: 4 }, way.connect)) : []
      const pool = mysql.createPool({
        ...access,
        connectionLimit: 4,
        ...(way.who === 'stream'
          ? { stream: () => streams.pop() ?? assert('a fifth stream is asked for') }
          : { port: way.port })
      })
      const all = Array.from({ length: 40 }, (_, i) => pool.query('SELECT ? AS i', [i]))
      const rows = (await Promise.all(all)).map(([rows]) => rows)
      await pool.end()
      return rows
    },
    'a wrong password': (way) =>
      failure(withClient(way, () => Promise.resolve(), { password: 'another' })),
    'an error of the server': (way) =>
      withClient(way, (client) => failure(client.query('SELECT FROM WHERE'))),
    'a query that takes too long': (way) =>
      failure(
        withClient(way, (client) => client.query({ sql: 'SELECT SLEEP(10)', timeout: SHORT_MS }))
      ),
    'a connection that the server ends': async (way) => {
      const ended = withClient(way, (client) => client.query('KILL CONNECTION_ID()'))
      return failure(ended)
    }
  })
})

t.test('ioredis, with Redis', { skip: noServer('redis-server') }, async (t) => {
  const open = ({ who, port, connect }: Way, options: CommonRedisOptions = {}) => {
    class StreamConnector extends AbstractConnector {
      constructor() {
        super(2000)
      }

      async connect() {
        this.stream = await connect()
        return this.stream
      }
    }
    const place = who === 'stream' ? { Connector: StreamConnector } : { host: '127.0.0.1', port }
    const redis = new Redis({ password: PASSWORD, ...place, ...(options as object) })
    redis.on('error', () => {})
    return redis
  }
  const withClient = async <T>(
    way: Way,
    use: (redis: Redis) => Promise<T>,
    options?: CommonRedisOptions
  ) => {
    const redis = open(way, options)
    await redis.flushall()
    const result = await use(redis)
    await redis.quit()
    return result
  }
  await compare(t, 'redis@7.0.0', await redis(t), {
    'a value': (way) =>
      withClient(way, async (redis) => [await redis.set('a', 'é'), await redis.get('a')]),
    'much, there and back': (way) =>
      withClient(way, async (redis) => {
        await redis.set('large', LARGE)
        return LARGE.equals((await redis.getBuffer('large')) as Buffer)
      }),
    'a thousand in a pipeline': (way) =>
      withClient(way, async (redis) => {
        const pipeline = redis.pipeline()
        for (let i = 0; i < 1000; i++) pipeline.incr('count')
        return (await pipeline.exec())?.at(-1)
      }),
    'a transaction': (way) =>
      withClient(way, (redis) => redis.multi().set('a', '1').incr('a').get('a').exec()),
    'a script': (way) =>
      withClient(way, (redis) => redis.eval('return {KEYS[1], ARGV[1]}', 1, 'key', 'argument')),
    'a scan as a stream': (way) =>
      withClient(way, async (redis) => {
        await redis.mset(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key${i}`, i])))
        const keys = new Set<string>()
        for await (const some of redis.scanStream()) for (const key of some) keys.add(key)
        return keys.size
      }),
    'what is published': (way) =>
      withClient(way, async (redis) => {
        const subscriber = open(way)
        await subscriber.subscribe('news')
        const heard = once(subscriber, 'message')
        await redis.publish('news', 'hello')
        const message = await heard
        await subscriber.quit()
        return message
      }),
    'a list that is waited for': (way) =>
      withClient(way, async (redis) => {
        const waiting = open(way)
        const popped = waiting.blpop('list', 0)
        await redis.rpush('list', 'element')
        const result = await popped
        await waiting.quit()
        return result
      }),
    'an error of the server': (way) =>
      withClient(way, async (redis) => {
        await redis.set('text', 'text')
        return failure(redis.incr('text'))
      }),
    'a wrong password': async (way) => {
      const redis = open(way, { password: 'another', maxRetriesPerRequest: 0 })
      const { message } = await failure(redis.get('a'))
      redis.disconnect()
      return message
    },
    'a command that takes too long': async (way) => {
      const redis = open(way, { commandTimeout: SHORT_MS })
      const { message } = await failure(redis.blpop('never', 0))
      redis.disconnect()
      return message
    },
    'a new connection, when the server ends one': (way) =>
      withClient(way, async (redis) => {
        const other = open(way)
        const id = await other.client('ID')
        const [closed, ready] = [once(other, 'close'), untilReadyAgain(other)]
        await redis.client('KILL', 'ID', id)
        await closed
        await ready
        const answer = await other.ping()
        await other.quit()
        return answer
      })
  })
})

async function untilReadyAgain(redis: Redis) {
  await once(redis, 'reconnecting')
  await once(redis, 'ready')
}

function assert(message: string): never {
  throw new Error(message)
}
