"use strict";
// A link may carry the token behind #, which no browser sends to a server: it is posted, and forgotten.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  history.replaceState(null, "", location.pathname);
  const form = document.getElementById("login");
  form.elements.token.value = token;
  form.submit();
}
