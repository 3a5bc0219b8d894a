/**
 * What each verb does, in a line, in the order of the help. Beside the verbs and not in them, so that the help of all
 * loads none of them: that took more than twice the time of Node itself.
 */
export const SUMMARIES = {
  registry: 'Run a registry; run it twice with one seed, anywhere, and either may fail',
  service: 'Register a local port as a service, or run a command and register that',
  proxy: 'Bring a service, wherever it runs, to a local port',
  web: 'Serve the services over HTTP, by role or domain, and a dashboard',
  host: 'Run apps on this machine, as placement decides; they outlive this process',
  hosts: 'List the machines that run apps',
  drain: 'Have a host emptied of its apps, which move to others, or use it again (--off)',
  app: 'Create, push, run, update, scale and remove apps on the hosts of a registry',
  list: 'List the instances that are registered',
  watch: 'Show instances as they come, change and go',
  call: 'Have a service execute a command, and print the answer',
  listen: 'Print the events of a service, of all its instances',
  state: 'Read, write or watch what the instances of a service share',
  send: 'Write a letter to a key, or to an instance of a role',
  inbox: 'Print the letters that came, a line each',
  peer: 'Write letters to other peers, and print those that come',
  inspect: 'Show what services can be told to do, what they tell, and how they are reached',
  seed: 'Make the identity of a new registry',
  key: 'Print the keys that need a grant in a private registry; makes them on first use',
  grant: 'Let a key into a private registry; it adds to what the key was granted before',
  revoke: 'End all grants of a key, and cut its connections',
  grants: 'List who may do what in a private registry',
  registrars:
    'List the registrars of a registry, or strike one off that is gone for good (--forget)',
  export: 'Print all that the registry says, a line of signed JSON each: a backup of its grants',
  import: "Bring the grants of an export back, as they were signed; '-' reads standard input",
  access: 'Give tokens and passwords for the web gateway, kept as hashes in a file',
  bootstrap: 'Run the first nodes of a private DHT, for a LAN or an island',
  demo: 'See it all at work on this machine, with sample services'
}
