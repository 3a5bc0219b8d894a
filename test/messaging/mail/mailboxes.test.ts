import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { MAILBOX } from '../../../lib/core/purpose.js'
import { Mailboxes, type MailboxesOptions } from '../../../lib/messaging/mail/mailboxes.js'
import { restWhile } from '../../rest.js'

t.test(
  'a mailbox that cannot be reached is asked for letters again, as long as it is there',
  async (t) => {
    const mailbox = toHex(KeyPair().publicKey)
    const there = [{ servicePublicKey: mailbox, speaks: [MAILBOX] }]
    const asked: string[] = []
    const open: MailboxesOptions['open'] = async (key) => {
      asked.push(key)
      throw SeaportError.LINK_LOST('it is away')
    }
    const key = toHex(KeyPair().publicKey)
    const directory = { list: () => there }
    const mailboxes = new Mailboxes({ key, directory, open, backoffs: [1] } as never)
    t.teardown(() => mailboxes.close())
    mailboxes.fetchAll()
    await restWhile(() => asked.length < 3)
    there.length = 0
    const before = asked.length
    await setTimeout(20)
    t.ok(asked.length <= before + 1)
    t.ok(asked.every((key) => key === mailbox))
  }
)
