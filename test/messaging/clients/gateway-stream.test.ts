import t from 'tap'
import {
  type ChannelFrame,
  type ChannelHead,
  decodeChannelFrame,
  encodeChannelFrame,
  MAX_CHANNEL_FRAME_BYTES
} from '../../../lib/messaging/clients/channel-frames.js'
import { ChannelRing } from '../../../lib/messaging/clients/channel-ring.js'
import { FROM_START, GatewayStream } from '../../../lib/messaging/clients/gateway-stream.js'
import { FrameReader } from '../../../lib/messaging/frame-reader.js'
import { streamPair } from '../../link/pair.js'
import { restWhile } from '../../rest.js'

t.test(
  'a page whose session is not known goes on from now, and is told that it missed some',
  async (t) => {
    const ring = new ChannelRing({ epoch: 5 })
    const add = () =>
      ring.add({ kind: 'broadcast', type: 'news' }, { kind: 'none', bytes: Buffer.alloc(0) })
    add()
    const [near, far] = await (await streamPair(t)).openBare()
    const heard: ChannelHead[] = []
    const reader = new FrameReader<ChannelFrame>({
      maxBytes: MAX_CHANNEL_FRAME_BYTES,
      decode: (bytes, start, end) => decodeChannelFrame(bytes.subarray(start, end)),
      onframe: ({ head }) => heard.push(head)
    })
    near.attach({
      ondata: (bytes) => {
        reader.push(bytes)
        return true
      },
      onend() {},
      ondrain() {},
      onclose() {}
    })
    near.resume()
    const gateway = new GatewayStream(far, Buffer.alloc(32, 1), {
      ring,
      concerns: () => true,
      idOf: (session) => (session === 'known' ? 'ada' : null),
      onhello() {},
      onframe() {},
      onclose() {}
    })
    gateway.start()
    const send = (head: ChannelHead) => near.write(encodeChannelFrame(head))
    send({ t: 'hello', gateway: 'g', ...FROM_START })
    for (const session of ['unknown', 'known']) send({ t: 'resume', session, epoch: 5, seq: 0 })
    await restWhile(() => heard.filter(({ t }) => t === 'replayed').length < 2)
    t.match(heard, [
      { t: 'welcome', seq: 0 },
      { t: 'event', seq: 1 },
      { t: 'missed', session: 'unknown' },
      { t: 'replayed', session: 'unknown', epoch: 5, seq: 1 },
      { t: 'replay', session: 'known', seq: 1 },
      { t: 'replayed', session: 'known', seq: 1 }
    ])
    near.destroy()
  }
)
