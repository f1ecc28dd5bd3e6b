// The streams of the web's platform: the package that makes them where an engine has none.
export * from 'web-streams-polyfill';
