// Node's emitter of events: the package that bundlers put in its place.
module.exports = require('events/');
