import t from 'tap'
import { commandsOf } from './pages.js'
import { Walkthrough } from './walkthrough.js'

/** What `test/heavy/readme.test.ts` runs beside these: they take a minute and a registry of packages. */
const IS_FROM_CLONE = /^(git clone|npm) /

t.test('the walkthrough of the README does what it says', async (t) => {
  const walkthrough = new Walkthrough(t)
  await walkthrough.island()
  await walkthrough.replacePort(8080)
  for (const command of commandsOf('README.md')) {
    if (IS_FROM_CLONE.test(command.text)) continue
    await walkthrough.run(command)
    const key = /^registryPublicKey=(?<key>.*)$/.exec(command.prints[0] ?? '')
    if (key) walkthrough.replace('5b64…0d45', walkthrough.said('registryPublicKey='))
  }
})
