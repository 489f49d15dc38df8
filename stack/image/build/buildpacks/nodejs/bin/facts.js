'use strict';
// Prints what compile and release need to know of a package.json, as `name=value` lines.
// usage: node facts.js APP

const fs = require('fs');
const path = require('path');

const app = process.argv[2];

function read() {
  try {
    const read = JSON.parse(fs.readFileSync(path.join(app, 'package.json'), 'utf8'));
    if (read === null || typeof read !== 'object' || Array.isArray(read)) throw new Error('it is no object');
    return read;
  } catch (error) {
    process.stdout.write(`broken=${error.message.replace(/\s+/g, ' ')}\n`);
    process.exit(0);
  }
}

/// npm's own way to read `engines`; where it is not at hand nothing is claimed.
function suits(range) {
  try {
    return require('/usr/lib/paas/npm/node_modules/semver').satisfies(process.versions.node, range);
  } catch {
    return true;
  }
}

const { dependencies, devDependencies, optionalDependencies, scripts = {}, engines = {} } = read();
const some = (list) => Object.keys(list ?? {}).length > 0;
const build = ['heroku-postbuild', 'build'].find((name) => scripts[name]) ?? '';
const facts = {
  version: process.version,
  dependencies: some(dependencies) || some(optionalDependencies) || (some(devDependencies) && build !== ''),
  // Scripts that npm runs while it installs: what they do is not in any lock file.
  installs: ['preinstall', 'install', 'postinstall', 'prepare'].some((name) => scripts[name]),
  build,
  start: Boolean(scripts.start),
  unsuited: engines.node && !suits(engines.node) ? engines.node.replace(/\s+/g, ' ') : '',
};
for (const [name, value] of Object.entries(facts)) {
  process.stdout.write(`${name}=${value === false ? '' : value}\n`);
}
