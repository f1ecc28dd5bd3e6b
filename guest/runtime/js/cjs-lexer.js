// The names that a CommonJS module exports, read from its source: the lexer that Node has.
module.exports = require('cjs-module-lexer');
