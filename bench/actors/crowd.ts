/**
 * Many pages. Arguments: kind, port, how many. It is asked by lines, `WORD NUMBER`, and answers with `NUMBER=` and JSON
 * when that is so.
 */
import { createInterface } from 'node:readline'
import { Crowd } from '../browsers/crowd.js'

const [kind = '', port, count] = process.argv.slice(2)
const crowd = new Crowd(kind, Number(port))
const answers: Record<string, () => unknown> = {
  come: () => crowd.come(Number(count)),
  lost: () => crowd.lost(Number(count)),
  here: () => crowd.here(Number(count)),
  deaf: () => crowd.deaf(),
  seen: () => crowd.seen()
}

console.log('ready=')
for await (const line of createInterface({ input: process.stdin })) {
  const [word = '', number] = line.split(' ')
  void Promise.resolve(answers[word]?.()).then((answer) => {
    console.log(`${number}=${JSON.stringify(answer ?? null)}`)
  })
}
process.exit()
