import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { Link } from '../../lib/link/link.js'
import { INITIAL_WINDOW } from '../../lib/link/window.js'
import { closed, linkPair, readAll, secretPair, streamPair } from './pair.js'

t.test('an opened stream carries bytes both ways', async (t) => {
  const { open } = await streamPair(t)
  const [near, far] = await open()
  near.end('ahoy')
  t.equal(String(await readAll(far)), 'ahoy')
  far.end('ahoy yourself')
  t.equal(String(await readAll(near)), 'ahoy yourself')
})

t.test('a side that has ended still hears the other', async (t) => {
  const { open, opener, acceptor } = await streamPair(t)
  const [near, far] = await open()
  near.end()
  t.equal((await readAll(far)).byteLength, 0)
  t.equal(near.writableFinished, true)
  for (const part of ['still ', 'here']) {
    far.write(part)
    const [chunk] = await once(near, 'data')
    t.equal(String(chunk), part)
  }
  far.end()
  near.resume()
  await Promise.all([once(near, 'close'), once(far, 'close')])
  t.equal(opener.size + acceptor.size, 0, 'and when both have ended it is gone')
})

t.test('an open resolves no sooner than the other side accepts', async (t) => {
  const { opener, acceptor } = linkPair(t, (incoming) => {
    t.equal(opener.stats.opened, 0)
    incoming.accept()
  })
  await opener.open()
  t.equal(opener.stats.opened, 1)
  t.equal(acceptor.stats.accepted, 1)
})

t.test('a refused open rejects with the code and the text of the refusal', async (t) => {
  const { opener } = linkPair(t, (incoming) =>
    incoming.refuse(SeaportError.BACKEND_UNREACHABLE('nothing listens there'))
  )
  await t.rejects(opener.open(), {
    code: 'BACKEND_UNREACHABLE',
    message: 'BACKEND_UNREACHABLE: nothing listens there'
  })
  t.equal(opener.size, 0)
})

t.test('a side that serves nothing refuses', async (t) => {
  const { opener } = linkPair(t)
  await t.rejects(opener.open(), { code: 'REFUSED' })
})

t.test('both sides may open, at the same time, and no stream is taken for another', async (t) => {
  const { initiator, responder } = secretPair(t)
  const links = [initiator, responder].map(
    (connection, side) =>
      new Link(connection, {
        onincoming: (incoming) => incoming.accept()?.toDuplex().end(`from side ${side}`)
      })
  ) as [Link, Link]
  const answers = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const stream = (await (links[i % 2] as Link).open()).toDuplex()
      stream.end()
      return String(await readAll(stream))
    })
  )
  t.ok(answers.every((answer, i) => answer === `from side ${1 - (i % 2)}`))
})

t.test('two hundred streams at once each carry their own bytes', async (t) => {
  const { opener, acceptor } = linkPair(t, (incoming) => echo(incoming.accept()?.toDuplex()))
  await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const sent = Buffer.alloc(1000 + i * 50, i)
      const stream = (await opener.open()).toDuplex()
      stream.end(sent)
      const received = await readAll(stream)
      if (!received.equals(sent)) throw new Error(`stream ${i} came back as another`)
    })
  )
  t.equal(opener.stats.opened, 200)
  t.equal(opener.size + acceptor.size, 0)
})

t.test('many megabytes arrive as they were sent, in both directions', async (t) => {
  const { opener } = linkPair(t, (incoming) => echo(incoming.accept()?.toDuplex()))
  const stream = (await opener.open()).toDuplex()
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  async function* source() {
    for (let i = 0; i < 200; i++) {
      const chunk = randomBytes(1 + ((i * 7919) % 200_000))
      sent.update(chunk)
      yield chunk
    }
  }
  await Promise.all([
    pipeline(source, stream, { end: true }),
    (async () => {
      for await (const chunk of stream) received.update(chunk)
    })()
  ])
  t.equal(received.digest('hex'), sent.digest('hex'))
})

t.test('what is cut on one side is cut on the other, with a code', async (t) => {
  const { open, opener, acceptor } = await streamPair(t)
  for (const cutter of [0, 1] as const) {
    const pair = await open()
    const [error] = await Promise.all([
      once(pair[1 - cutter] as Duplex, 'error'),
      pair[cutter].destroy(SeaportError.REFUSED('enough'))
    ])
    t.match(error[0], { code: 'STREAM_RESET', message: /REFUSED/ })
  }
  t.equal(opener.size + acceptor.size, 0)
})

t.test('a cut stream disturbs no other', async (t) => {
  const { open } = await streamPair(t)
  const [[near, far], [cut]] = [await open(), await open()]
  cut.destroy()
  near.end('calm')
  t.equal(String(await readAll(far)), 'calm')
})

t.test('a stalled reader stops only its own stream', async (t) => {
  const { open } = await streamPair(t)
  const [stalled, unread] = await open()
  const [running, read] = await open()
  const chunk = Buffer.alloc(64 * 1024)
  let written = 0
  const write = () => {
    while (stalled.write(chunk)) written += chunk.byteLength
    written += chunk.byteLength
  }
  stalled.on('drain', write)
  write()
  const bytes = 32 * 1024 * 1024
  running.end(Buffer.alloc(bytes))
  t.equal((await readAll(read)).byteLength, bytes)
  t.ok(written < 2 * INITIAL_WINDOW, `${written} bytes were taken for a reader that reads nothing`)
  unread.on('data', () => unread.destroy())
  await once(stalled, 'error')
})

t.test('a stalled reader that goes on gets everything', async (t) => {
  const { open } = await streamPair(t)
  const [near, far] = await open()
  const sent = randomBytes(3 * INITIAL_WINDOW)
  near.end(sent)
  await once(far, 'readable')
  t.ok(sent.equals(await readAll(far)))
})

t.test('a window grows while its reader keeps up, and a fat link is filled', async (t) => {
  const { openBare } = await streamPair(t)
  const [near, stream] = await openBare()
  const far = stream.toDuplex()
  let highest = 0
  near.toDuplex().end(Buffer.alloc(64 * 1024 * 1024))
  far.on('data', () => {
    highest = Math.max(highest, stream.window)
  })
  await once(far, 'end')
  t.ok(highest > INITIAL_WINDOW, `it grew to ${highest}`)
})

t.test('an open that is not answered in time fails, and tells the other side', async (t) => {
  const { opener } = linkPair(t, (incoming) => {
    incoming.signal.addEventListener('abort', () => gaveUp(incoming.signal.reason))
  })
  let gaveUp: (reason: unknown) => void = () => {}
  const reason = new Promise((resolve) => {
    gaveUp = resolve
  })
  await t.rejects(opener.open({ timeout: 50 }), { code: 'OPEN_TIMEOUT' })
  t.match(await reason, { code: 'STREAM_RESET', message: /OPEN_TIMEOUT/ })
  t.notOk(opener.isClosed, 'the link is alive, only the backend is slow')
})

t.test(
  'an aborted open fails with the reason of its signal, and tells the other side',
  async (t) => {
    let gaveUp: () => void = () => {}
    const givenUp = new Promise<void>((resolve) => {
      gaveUp = resolve
    })
    const abort = new AbortController()
    const { opener } = linkPair(t, (incoming) => {
      incoming.signal.addEventListener('abort', gaveUp)
      abort.abort(new Error('changed my mind'))
      incoming.signal.addEventListener('abort', () => t.equal(incoming.accept(), null))
    })
    await t.rejects(opener.open({ signal: abort.signal }), { message: 'changed my mind' })
    await givenUp
    await t.rejects(opener.open({ signal: abort.signal }), { message: 'changed my mind' })
    t.equal(opener.size, 0)
  }
)

t.test('a stream that is accepted just when the opener gives up is cut', async (t) => {
  const abort = new AbortController()
  const accepted = new Promise<Duplex>((resolve) => {
    const { opener } = linkPair(t, (incoming) => {
      resolve(incoming.accept()?.toDuplex() as Duplex)
      abort.abort(new Error('changed my mind'))
    })
    opener.open({ signal: abort.signal }).catch(() => {})
  })
  const stream = await accepted
  stream.write('too late')
  const [error] = await once(stream, 'error')
  t.match(error, { code: 'STREAM_RESET' })
})

t.test('a link that is lost fails its opens and cuts its streams', async (t) => {
  const { open, opener, acceptor } = await streamPair(t, { acceptor: { maxStreams: 2 } })
  const [near, far] = await open()
  const errors = Promise.all([once(near, 'error'), once(far, 'error')])
  const pending = opener.open()
  acceptor.destroy()
  await t.rejects(pending, { code: 'LINK_LOST' })
  for (const [error] of await errors) t.match(error, { code: 'LINK_LOST' })
  await t.rejects(opener.open(), { code: 'LINK_LOST' })
})

t.test('a link that cannot be made says so', async (t) => {
  const { initiator, responder } = secretPair(t)
  const link = new Link(initiator)
  responder.destroy()
  await t.rejects(link.open(), { code: 'LINK_LOST', message: /could be made/ })
})

t.test('a connection that takes too long is given up', async (t) => {
  const { initiator, freeze } = secretPair(t)
  freeze()
  const link = new Link(initiator, { connectTimeout: 50 })
  await t.rejects(link.open({ timeout: 10 }), { code: 'LINK_LOST', message: /within 50 ms/ })
})

t.test('an open that fails over a silent link ends the link', async (t) => {
  const { opener, freeze } = linkPair(t, (incoming) => incoming.accept()?.toDuplex().end(), {
    opener: { heartbeat: 20, deadAfter: 60_000 }
  })
  const stream = (await opener.open()).toDuplex()
  stream.end()
  await readAll(stream)
  freeze()
  const lost = closed(opener)
  await t.rejects(opener.open({ timeout: 100 }), { code: 'OPEN_TIMEOUT' })
  t.match(await lost, { code: 'LINK_LOST' })
})

t.test('streams outlive a silence, and are cut when it lasts', async (t) => {
  const { open, opener, acceptor, freeze } = await streamPair(t, {
    opener: { heartbeat: 20, deadAfter: 200 },
    acceptor: { heartbeat: 20, deadAfter: 200 }
  })
  const [near] = await open()
  for (let pongs = 0; pongs < 15; pongs++) await once(opener.connection, 'data')
  t.notOk(opener.isClosed, 'pings are answered, however quiet the stream')
  freeze()
  const [nearError, farError] = await Promise.all([closed(opener), closed(acceptor)])
  t.match([nearError, farError], [{ code: 'LINK_LOST' }, { code: 'LINK_LOST' }])
  t.ok(near.destroyed)
})

t.test('no side takes more streams than it agreed to', async (t) => {
  const { open, opener } = await streamPair(t, { acceptor: { maxStreams: 2 } })
  const [[first]] = [await open(), await open()]
  await t.rejects(opener.open(), { code: 'REFUSED' })
  first.destroy()
  t.ok(await open(), 'and there is room again when one is gone')

  const modest = await streamPair(t, { opener: { maxStreams: 1 } })
  await modest.open()
  await t.rejects(modest.opener.open(), { code: 'REFUSED' })
})

function echo(stream: Duplex | undefined) {
  stream?.pipe(stream)
}
