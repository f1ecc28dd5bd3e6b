// Paths as Node has them on POSIX: the package that bundlers put in its place.
module.exports = require('path-browserify');
