"""The arithmetic of `core` in JavaScript, and a page that trains with it in the browser."""
