import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import type { CallContext } from '../../lib/messaging/call-context.js'
import type { CommandMap } from '../../lib/messaging/commands.js'
import { contract, type StandardSchema } from '../../lib/messaging/contract.js'
import { Passed } from '../../lib/messaging/run.js'
import { restWhile } from '../rest.js'
import { bay, deferred } from './bay.js'

const echo = (data: unknown) => data

t.test('a command is answered with JSON, with bytes or with nothing', async (t) => {
  const { sender, conversations, of } = await bay(t, { instances: { a: { echo } } })
  t.same(await sender.send('echo', { deep: [1, 'two', null] }), { deep: [1, 'two', null] })
  t.equal(await sender.send('echo'), undefined)
  const bytes = await sender.send('echo', new Uint8Array([1, 2, 3]))
  t.same(bytes, Buffer.from([1, 2, 3]))
  t.ok(conversations.peek(of('a').key), 'on one conversation')
  t.equal(of('a').pairs.length, 1)
  t.equal(of('a').speaker.size, 1)
})

/** For so many at once that a busy machine is not through with them in the usual time. */
const PATIENT = { timeout: 120_000 }

t.test('a thousand sends at once, each its own answer', async (t) => {
  const instances = { a: { echo }, b: { echo }, c: { echo } }
  const { sender, dialer } = await bay(t, { instances })
  dialer.setMode('p2c')
  const answers = await Promise.all(
    Array.from({ length: 1000 }, (_, i) => sender.send('echo', { i }, PATIENT))
  )
  t.ok(answers.every((answer, i) => (answer as { i: number }).i === i))
})

t.test('what a handler throws is told with its code, and never its stack', async (t) => {
  const instances = {
    a: {
      coded: () => {
        throw Object.assign(new Error('no such thing'), { code: 'ENOTHING' })
      },
      plain: async () => {
        throw new Error('just so')
      },
      odd: () => {
        throw null
      },
      worst: () => {
        throw new Proxy(
          {},
          {
            get: () => {
              throw new Error('not even that')
            }
          }
        )
      },
      revoked: () => {
        throw revoked()
      },
      revokedLater: { concurrency: 1, handler: () => Promise.reject(revoked()) }
    }
  }
  const { sender } = await bay(t, { instances })
  const failed = { code: 'COMMAND_FAILED', executed: 'yes' }
  await t.rejects(sender.send('coded'), {
    ...failed,
    handlerCode: 'ENOTHING',
    message: 'COMMAND_FAILED: ENOTHING: no such thing'
  })
  await t.rejects(sender.send('plain'), { ...failed, message: 'COMMAND_FAILED: just so' })
  await t.rejects(sender.send('odd'), failed)
  await t.rejects(sender.send('worst'), failed)
  await t.rejects(sender.send('revoked'), failed)
  for (let i = 0; i < 2; i++) await t.rejects(sender.send('revokedLater'), failed, 'its turn ends')
})

/** What cannot be looked at. */
function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

t.test("an answer that cannot be sent is the command's failure", async (t) => {
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  const instances = {
    a: {
      big: () => 10n,
      cycle: () => cycle,
      function: () => () => {},
      huge: () => Buffer.alloc(17 * 1024 * 1024),
      items: async function* () {
        yield 1
      }
    }
  }
  const { sender } = await bay(t, { instances })
  for (const name of ['big', 'cycle', 'function', 'items']) {
    await t.rejects(sender.send(name), { code: 'BAD_OUTPUT', executed: 'yes' }, name)
  }
  await t.rejects(sender.send('huge'), { code: 'TOO_LARGE', executed: 'yes' })
})

t.test('what a schema or a value throws counts as what it is, whatever it is', async (t) => {
  const thrown = () => {
    throw null
  }
  const broken: StandardSchema = { '~standard': { version: 1, vendor: 'test', validate: thrown } }
  let ran = 0
  const handler = () => ran++
  const instances: Record<string, CommandMap> = {
    a: {
      echo,
      takes: { input: broken, handler },
      gives: { output: broken, handler: () => 1 },
      odd: () => ({ toJSON: thrown })
    }
  }
  const { sender } = await bay(t, { instances })
  await t.rejects(sender.send('takes'), { code: 'BAD_INPUT', executed: 'no' })
  t.equal(ran, 0)
  await t.rejects(sender.send('gives'), { code: 'BAD_OUTPUT', executed: 'yes' })
  await t.rejects(sender.send('odd'), { code: 'BAD_OUTPUT', executed: 'yes' })
  await t.rejects(sender.send('echo', { toJSON: thrown }), { code: 'BAD_INPUT', executed: 'no' })
})

t.test('what cannot be sent is refused here, and no other call is harmed', async (t) => {
  const { sender } = await bay(t, { instances: { a: { echo, slow: () => setTimeout(200, 1) } } })
  const slow = sender.send('slow')
  const refused = { code: 'USAGE', executed: 'no' }
  for (const principal of ['p'.repeat(5000), 'p'.repeat(70_000), 1n as unknown as string]) {
    await t.rejects(sender.send('echo', 1, { meta: { principal } }), refused)
  }
  await t.rejects(sender.send('echo', 1, { timeout: 0 }), refused)
  await t.rejects(sender.send('no name'), refused)
  await t.rejects(sender.send(null as unknown as string), refused)
  t.equal(await slow, 1)
})

t.test('names that callers make up are not listed', async (t) => {
  const { sender, of } = await bay(t, { instances: { a: {} } })
  const { commands } = of('a')
  commands.handleOthers((name) => {
    if (name === 'known') return 1
    throw new Passed(SeaportError.UNKNOWN_COMMAND('there is none').withExecuted('no'))
  })
  for (const name of ['one', 'two']) {
    await t.rejects(sender.send(name), { code: 'UNKNOWN_COMMAND', executed: 'no' })
  }
  t.equal(await sender.send('known'), 1)
  t.same(commands.names, ['known'])
})

t.test('a command that there is none of names the nearest', async (t) => {
  const { sender } = await bay(t, { instances: { a: { fetch: echo } } })
  await t.rejects(sender.send('fecth'), {
    code: 'UNKNOWN_COMMAND',
    executed: 'no',
    message: /did you mean fetch/
  })
  await t.rejects(sender.send('no name'), { code: 'USAGE' })
  await t.rejects(sender.send('echo', null, { timeout: 0 }), { code: 'USAGE' })
})

t.test('what is too large for a frame has a stream of its own, either way', async (t) => {
  const instances = {
    a: { echo, length: (data: Buffer) => data.byteLength, make: (n: number) => Buffer.alloc(n, 7) }
  }
  const { sender, of } = await bay(t, { instances, service: { maxBody: 1024 * 1024 } })
  const large = Buffer.alloc(1024 * 1024, 1)
  t.equal(await sender.send('length', large), large.byteLength)
  t.same(await sender.send('echo', large), large)
  t.same(await sender.send('make', 300_000), Buffer.alloc(300_000, 7))
  await t.rejects(sender.send('length', Buffer.alloc(2 * 1024 * 1024)), {
    code: 'TOO_LARGE',
    executed: 'no'
  })
  await t.rejects(sender.send('length', Buffer.alloc(17 * 1024 * 1024)), {
    code: 'TOO_LARGE',
    executed: 'no'
  })
  t.equal(await sender.send('length', Buffer.alloc(1)), 1, 'and all goes on')
  while (of('a').speaker.size > 1) await setTimeout(1)
})

t.test('at its deadline a caller is told so, never early, and the handler too', async (t) => {
  const aborted = deferred<unknown>()
  const hang = (_: unknown, { signal }: CallContext) =>
    new Promise(() => signal.addEventListener('abort', () => aborted.resolve(signal.reason)))
  const { sender } = await bay(t, { instances: { a: { hang } } })
  const since = performance.now()
  await t.rejects(sender.send('hang', null, { timeout: 500 }), {
    code: 'DEADLINE',
    executed: 'perhaps'
  })
  t.ok(performance.now() - since >= 500)
  t.match(await aborted.promise, { name: 'SeaportError' })
})

t.test('who gives up is told at once, and the handler hears of it', async (t) => {
  const began = deferred()
  const aborted = deferred<unknown>()
  const hang = (_: unknown, { signal }: CallContext) => {
    began.resolve()
    return new Promise(() => signal.addEventListener('abort', () => aborted.resolve(signal.reason)))
  }
  const { sender } = await bay(t, { instances: { a: { hang } } })
  const giveUp = new AbortController()
  const sent = sender.send('hang', null, { signal: giveUp.signal })
  sent.catch(() => {})
  await began.promise
  giveUp.abort(new Error('enough'))
  await t.rejects(sent, { code: 'CANCELLED', executed: 'perhaps', cause: { message: 'enough' } })
  t.match(await aborted.promise, { code: 'CANCELLED' })
  await t.rejects(sender.send('hang', null, { signal: AbortSignal.abort() }), {
    code: 'CANCELLED',
    executed: 'no'
  })
})

t.test('when a link is lost, each call on it is told that it may have been executed', async (t) => {
  const aborted = deferred<unknown>()
  const began = deferred()
  const hang = (_: unknown, { signal }: CallContext) => {
    began.resolve()
    return new Promise(() => signal.addEventListener('abort', () => aborted.resolve(signal.reason)))
  }
  const { sender, of } = await bay(t, { instances: { a: { hang } } })
  const sent = sender.send('hang')
  sent.catch(() => {})
  await began.promise
  of('a').pairs[0]?.responder.destroy()
  await t.rejects(sent, { code: 'LINK_LOST', executed: 'perhaps' })
  t.match(await aborted.promise, { code: 'LINK_LOST' }, 'and a caller that dies ends its calls')
})

t.test('beyond what may run and wait, callers are told BUSY at once', async (t) => {
  const open = deferred()
  const calls: number[] = []
  const one = {
    concurrency: 1,
    queue: 1,
    handler: async (n: number) => {
      calls.push(n)
      await open.promise
      return n
    }
  }
  const { sender } = await bay(t, { instances: { a: { one } } })
  const first = sender.send('one', 1)
  const second = sender.send('one', 2)
  await t.rejects(sender.send('one', 3), { code: 'BUSY', executed: 'no' })
  open.resolve()
  t.same(await Promise.all([first, second]), [1, 2])
  t.same(calls, [1, 2])
})

t.test('what ends while it waits in the queue was not executed', async (t) => {
  const open = deferred()
  const calls: number[] = []
  const one = {
    concurrency: 1,
    handler: async (n: number) => {
      calls.push(n)
      await open.promise
    }
  }
  const { sender } = await bay(t, { instances: { a: { one } } })
  const first = sender.send('one', 1)
  await t.rejects(sender.send('one', 2, { timeout: 100 }), { code: 'DEADLINE', executed: 'no' })
  const giveUp = new AbortController()
  const third = sender.send('one', 3, { signal: giveUp.signal })
  third.catch(() => {})
  await setTimeout(20)
  giveUp.abort()
  await t.rejects(third, { code: 'CANCELLED', executed: 'no' })
  open.resolve()
  await first
  t.same(calls, [1])
})

t.test('what was not executed is tried on the next instance', async (t) => {
  const full = { concurrency: 1, queue: 0, handler: () => new Promise(() => {}) }
  const { sender, of } = await bay(t, {
    instances: { busy: { work: full }, old: {}, good: { work: () => 'done' } }
  })
  const stuck = sender.send('work', null, { instance: of('busy').key, timeout: 5000 })
  stuck.catch(() => {})
  t.equal(await sender.send('work'), 'done')
  await t.rejects(sender.send('work', null, { instance: of('old').key }), {
    code: 'UNKNOWN_COMMAND'
  })
})

t.test('what may have been executed is tried elsewhere only if it is idempotent', async (t) => {
  const began = deferred()
  const hang = () => {
    began.resolve()
    return new Promise(() => {})
  }
  const { sender, of } = await bay(t, {
    instances: { a: { work: hang }, b: { work: () => 'b did it' } },
    hedgeAfter: 60_000
  })
  const cut = async () => {
    await began.promise
    for (const { responder } of of('a').pairs) responder.destroy()
  }
  const plain = sender.send('work')
  plain.catch(() => {})
  await cut()
  await t.rejects(plain, { code: 'LINK_LOST', executed: 'perhaps' })

  const idempotent = sender.send('work', null, { idempotent: true })
  await setTimeout(50)
  await cut()
  t.equal(await idempotent, 'b did it')
})

t.test(
  'what is idempotent is sent to a second instance when the first leaves us waiting',
  async (t) => {
    const aborted = deferred<unknown>()
    const hang = (_: unknown, { signal }: CallContext) =>
      new Promise(() => signal.addEventListener('abort', () => aborted.resolve(signal.reason)))
    const { sender } = await bay(t, {
      instances: { a: { work: hang }, b: { work: () => 'b did it' } },
      hedgeAfter: 50
    })
    t.equal(await sender.send('work', null, { idempotent: true }), 'b did it')
    t.match(await aborted.promise, { code: 'CANCELLED' }, 'and the first is told that it is over')
  }
)

t.test('a send inside a handler has what is left of the time, and ends with it', async (t) => {
  const lasts: number[] = []
  const aborted = deferred<unknown>()
  const c = await bay(t, {
    instances: {
      c: {
        last: (_: unknown, { signal, deadline, meta }: CallContext) => {
          lasts.push(deadline - Date.now())
          t.same(meta, { traceparent: TRACE })
          return new Promise(() =>
            signal.addEventListener('abort', () => aborted.resolve(signal.reason))
          )
        }
      }
    }
  })
  const b = await bay(t, {
    instances: {
      b: {
        middle: async () => {
          await setTimeout(100)
          return c.sender.send('last')
        }
      }
    }
  })
  // Both deadlines are one moment: the caller's own, or what became of the send inside, may come first.
  await t.rejects(b.sender.send('middle', null, { timeout: 2000, meta: { traceparent: TRACE } }), {
    message: /^(COMMAND_FAILED: DEADLINE: )?DEADLINE: /
  })
  t.ok((lasts[0] as number) <= 1901, `${lasts[0]} ms were left of 2000`)
  await aborted.promise
})

t.test('what a handler does after its answer has time of its own', async (t) => {
  const later = deferred<unknown>()
  const start = deferred()
  const instances: Record<string, CommandMap> = {
    a: {
      slow: () => setTimeout(100, 'still here'),
      begin: () => {
        void start.promise.then(() => later.resolve(sender.send('slow')))
        return 'begun'
      }
    }
  }
  const { sender } = await bay(t, { instances })
  t.equal(await sender.send('begin', null, { timeout: 1000 }), 'begun')
  await setTimeout(1000)
  start.resolve()
  t.equal(await later.promise, 'still here')
})

t.test('what a handler sends after it was given up is not sent', async (t) => {
  const later = deferred<unknown>()
  const instances: Record<string, CommandMap> = {
    a: {
      echo,
      hang: async (_, { signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        later.resolve(sender.send('echo', 'in vain'))
      }
    }
  }
  const { sender } = await bay(t, { instances })
  await Promise.all([
    // Its own deadline and the caller's word that it gives up come at one time.
    t.rejects(later.promise, { code: /^(DEADLINE|CANCELLED)$/, executed: 'no' }),
    t.rejects(sender.send('hang', null, { timeout: 100 }), { code: 'DEADLINE' })
  ])
})

t.test('a send of a handler that answers in items has what is left of the time, too', async (t) => {
  let left = Infinity
  const instances: Record<string, CommandMap> = {
    a: {
      items: async function* () {
        yield 'first'
        yield await sender.send('leaf')
      },
      leaf: (_, { deadline }) => {
        left = deadline - Date.now()
      }
    }
  }
  const { sender } = await bay(t, { instances })
  for await (const _ of sender.stream('items', undefined, { timeout: 5000 }));
  t.ok(left <= 5000, `${left} ms are left`)
})

t.test('an instance that leaves takes no new calls, and ends when its calls have', async (t) => {
  const open = deferred()
  const began = deferred()
  const work = async () => {
    began.resolve()
    await open.promise
    return 'done'
  }
  const { sender, of } = await bay(t, { instances: { a: { work }, b: { work: () => 'b' } } })
  const sent = sender.send('work')
  await began.promise
  let isDrained = false
  const drained = of('a')
    .acceptor.drain()
    .then(() => {
      isDrained = true
    })
  t.equal(await sender.send('work'), 'b', 'the next one goes elsewhere')
  t.notOk(isDrained)
  open.resolve()
  t.equal(await sent, 'done')
  await drained
  t.equal(of('a').speaker.size, 0)
})

t.test('both ends hold a contract', async (t) => {
  const number: StandardSchema<unknown, number> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        typeof value === 'number'
          ? { value: value * 1 }
          : { issues: [{ message: 'is no number', path: ['n'] }] }
    }
  }
  const terms = contract({ double: { input: number, output: number, idempotent: true } })
  const { sender, of } = await bay(t, { instances: { a: {} } })
  of('a').commands.handle(terms.double, (n) => (n === 13 ? ('unlucky' as never) : n * 2))
  t.equal(await sender.send(terms.double, 21), 42)
  await t.rejects(sender.send(terms.double, 'x'), {
    code: 'BAD_INPUT',
    executed: 'no',
    message: /n: is no number/
  })
  await t.rejects(
    sender.send('double', 'x'),
    { code: 'BAD_INPUT', executed: 'no' },
    'at the service'
  )
  await t.rejects(sender.send(terms.double, 13), { code: 'BAD_OUTPUT', executed: 'yes' })
  t.throws(() => contract({ $own: {} }), { code: 'USAGE' })
  t.same(of('a').commands.describe(), [{ name: 'double', idempotent: true }])
})

t.test('a key that may not execute a command is told so, and what runs for it ends', async (t) => {
  let isAllowed = true
  const began = deferred()
  const hang = () => {
    began.resolve()
    return new Promise(() => {})
  }
  const { sender, of } = await bay(t, {
    instances: { a: { hang, echo } },
    service: {
      denialOf: (_peer, name) =>
        name === 'echo' || isAllowed ? null : SeaportError.NOT_GRANTED(`not ${name}`)
    }
  })
  const sent = sender.send('hang')
  sent.catch(() => {})
  await began.promise
  isAllowed = false
  of('a').speaker.recheck()
  await t.rejects(sent, { code: 'NOT_GRANTED', executed: 'perhaps' })
  await t.rejects(sender.send('hang'), { code: 'NOT_GRANTED', executed: 'no' })
  t.equal(await sender.send('echo', 1), 1)
})

const TRACE = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`

t.test('a handler whose items nobody reads ends when the right to it is lost', async (t) => {
  let isAllowed = true
  const ended = deferred()
  const given = { count: 0 }
  async function* flow() {
    try {
      for (;;) {
        given.count++
        yield 'x'.repeat(50_000)
      }
    } finally {
      ended.resolve()
    }
  }
  const { sender, of } = await bay(t, {
    instances: { a: { flow } },
    service: { denialOf: () => (isAllowed ? null : SeaportError.NOT_GRANTED('not any more')) }
  })
  const items = sender.stream('flow')
  await items.next()
  let before = 0
  await restWhile(() => {
    const isStill = given.count === before
    before = given.count
    return !isStill
  })
  isAllowed = false
  of('a').speaker.recheck()
  await ended.promise
  await t.rejects(
    async () => {
      for await (const _ of items);
    },
    { code: 'NOT_GRANTED', executed: 'perhaps' }
  )
})
