import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { isPrintable, printable, printableJson, printableLines } from '../../lib/core/printable.js'

/** What a text is, and what is left of it where it is shown. */
const TEXTS: [what: string, text: string, shown: string][] = [
  ['words', 'all is well – 漢字 and 😀', 'all is well – 漢字 and 😀'],
  ['a terminal’s commands', '\x1b[2J\x1b]0;title\x07', '�[2J�]0;title�'],
  ['8-bit commands', '\x9b2J', '�2J'],
  ['a forged line', 'one\r\ntwo', 'one��two'],
  ['a line of Unicode', 'one\u2028two\u2029three', 'one�two�three'],
  ['another reading direction', 'abc\u202egnp.exe\u2066', 'abc�gnp.exe�'],
  ['what has no width', 'pay\u200bpal\ufeff', 'pay�pal�'],
  ['half a character', 'a\ud800b', 'a�b'],
  ['tags', 'hello\u{e0041}', 'hello�']
]

t.test('what others wrote is shown without what drives a terminal', async (t) => {
  for (const [what, text, shown] of TEXTS) {
    t.equal(printable(text), shown, what)
    t.equal(isPrintable(text), text === shown, what)
  }
  t.equal(printableLines('one\ntwo\x1b\tthree'), 'one\ntwo��three')
})

t.test('JSON for a terminal is printable, and reads as what it was made of', async (t) => {
  for (const [what, text] of TEXTS) {
    const json = printableJson({ text, list: [text] }, 2)
    t.ok(isPrintable(json.replaceAll('\n', '')), what)
    t.same(JSON.parse(json), { text, list: [text] }, what)
  }
})

t.test('an error that came over the wire is one short printable line', async (t) => {
  const { message } = SeaportError.remote('NOT_GRANTED', `\x1b[2Jrevoked\n${'x'.repeat(1000)}`)
  t.ok(isPrintable(message))
  t.ok(message.startsWith('NOT_GRANTED: �[2Jrevoked�xxx'))
  t.ok(message.length < 600)
  t.equal(SeaportError.remote('\x1b[2J', 'text').code, 'BAD_MESSAGE')
})

t.test('what an error quotes of others is printable, in lines of our own', async (t) => {
  t.equal(
    SeaportError.USAGE('no \x1b here\nbut a second line').message,
    'USAGE: no � here\nbut a second line'
  )
})
