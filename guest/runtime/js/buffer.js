// The bytes of Node, on typed arrays: the package that bundlers put in its place.
module.exports = require('buffer/');
