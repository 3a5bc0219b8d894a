import { runRoom } from './rooms.js'

await runRoom('mail')
