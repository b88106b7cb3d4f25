/* Before anything is painted: the theme this person chose here, and that scripts run. */
(function () {
  "use strict";
  document.documentElement.classList.add("js");
  try {
    var theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (refused) { /* storage is off: the system's theme stays */ }
})();
