'use strict';
// Copies npm, and what it depends on, out of Debian's unpacked Node.js packages.
// usage: node take-npm.js FROM TO   (FROM is a usr/share/nodejs, TO a node_modules)

const fs = require('fs');
const path = require('path');

const [from, to] = process.argv.slice(2);
const installed = '/usr/share/nodejs'; // comes with Debian's nodejs itself, and is found there at run time too

const isPackage = (folder) => fs.existsSync(path.join(folder, 'package.json'));

/// The package's own node_modules, its parents', then the top: as Node.js looks for it.
function find(name, folder) {
  for (let at = folder; at.startsWith(from); at = path.dirname(at)) {
    const nested = path.join(at, 'node_modules', name);
    if (isPackage(nested)) return nested;
  }
  return [path.join(from, name), path.join(installed, name)].find(isPackage);
}

const seen = new Set();
const queue = [path.join(from, 'npm')];
while (queue.length > 0) {
  const folder = queue.pop();
  if (seen.has(folder)) continue;
  seen.add(folder);
  const { dependencies = {} } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  // Debian renames or leaves out a few; npm itself is run after this, which shows what it cannot do without.
  queue.push(...Object.keys(dependencies).map((name) => find(name, folder)).filter(Boolean));
}

/// `npm/node_modules/x` and `@npmcli/arborist/lib` belong to the packages `npm` and `@npmcli/arborist`.
function topPackage(folder) {
  const [first, second] = path.relative(from, folder).split(path.sep);
  return first.startsWith('@') ? path.join(first, second) : first;
}

const wanted = new Set([...seen].filter((folder) => folder.startsWith(from + path.sep)).map(topPackage));
for (const name of wanted) {
  fs.cpSync(path.join(from, name), path.join(to, name), { recursive: true, verbatimSymlinks: true });
}
