# libtaut, the decoder in C: one target, its header, a package for find_package(taut), and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The core's decoders, which throw nothing, and what stands on them: no C++ library is needed to run it.
enable_language(C)
set(TAUT_C_SOURCES array/header rans/slots rans/read_table rans/read_streams split/header split/decode matrix/header matrix/tables
    matrix/basis matrix/columns matrix/lookup matrix/decode adaptive/header adaptive/numbers adaptive/decode records/header records/layout records/decode delta/header delta/decode
    codec/any simd/kernels simd/combine)
list(TRANSFORM TAUT_C_SOURCES PREPEND ${CMAKE_SOURCE_DIR}/csrc/)
list(TRANSFORM TAUT_C_SOURCES APPEND .cpp)
set(TAUT_C_WIDE ${TAUT_SOURCES})
list(FILTER TAUT_C_WIDE INCLUDE REGEX "/csrc/simd/(avx|neon)")
list(FILTER TAUT_C_WIDE EXCLUDE REGEX "_encode")
file(GLOB TAUT_C_OWN CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/csrc/capi/*.cpp)

add_library(taut ${TAUT_C_SOURCES} ${TAUT_C_WIDE} ${TAUT_C_OWN})
add_library(taut::taut ALIAS taut)
target_include_directories(taut PRIVATE ${CMAKE_SOURCE_DIR}/csrc
                           PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_options(taut PRIVATE ${TAUT_FLAGS})
target_compile_definitions(taut PRIVATE ${TAUT_DEFINITIONS} TAUT_DECODE_ONLY=1 TAUT_BUILDING TAUT_THREADS=$<BOOL:${TAUT_THREADS}>)
if(NOT BUILD_SHARED_LIBS)
  target_compile_definitions(taut PUBLIC TAUT_STATIC)
endif()
if(NOT MSVC)
  target_compile_options(taut PRIVATE -fno-exceptions -fno-rtti -fno-threadsafe-statics -ffunction-sections -fdata-sections)
  if(NOT TAUT_SANITIZERS)
    # What is not in a loop over values is small rather than fast.
    target_compile_options(taut PRIVATE -O2 -fno-align-functions -fno-align-loops -fno-align-jumps -fno-asynchronous-unwind-tables -fno-unwind-tables)
    set(TAUT_C_SMALL ${TAUT_C_SOURCES})
    list(FILTER TAUT_C_SMALL EXCLUDE REGEX "/(split/decode|matrix/columns)[.]cpp")
    set_property(SOURCE ${TAUT_C_OWN} ${TAUT_C_SMALL} DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY COMPILE_OPTIONS -Os)
    set_target_properties(taut PROPERTIES LINKER_LANGUAGE C)
  endif()
  if(NOT APPLE)
    target_link_options(taut PRIVATE -Wl,--gc-sections -Wl,--as-needed -Wl,-z,noseparate-code)
  endif()
endif()
if(TAUT_THREADS)
  target_link_libraries(taut PRIVATE Threads::Threads)
endif()
if(UNIX)
  target_link_libraries(taut PRIVATE m)
endif()
set_target_properties(taut PROPERTIES VERSION 0.1.0 SOVERSION 0 PUBLIC_HEADER ${CMAKE_SOURCE_DIR}/include/taut.h)

install(TARGETS taut EXPORT taut-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT taut-targets NAMESPACE taut:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/taut)
file(WRITE ${CMAKE_BINARY_DIR}/taut-config.cmake
     "include(CMakeFindDependencyMacro)\nfind_dependency(Threads)\ninclude(\${CMAKE_CURRENT_LIST_DIR}/taut-targets.cmake)\n")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/taut-config-version.cmake VERSION 0.1.0 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/taut-config.cmake ${CMAKE_BINARY_DIR}/taut-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/taut)
# Where it is installed is known when it is: `cmake --install --prefix`. A static library alone wants what it is made with.
file(RELATIVE_PATH TAUT_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" TAUT_UP ${TAUT_UP})
set(TAUT_ALSO "")
if(TAUT_THREADS)
  string(APPEND TAUT_ALSO " -lpthread")
endif()
if(UNIX)
  string(APPEND TAUT_ALSO " -lm")
endif()
if(BUILD_SHARED_LIBS)
  set(TAUT_LIBS "Libs: -L\${libdir} -ltaut\nLibs.private:${TAUT_ALSO}\nCflags: -I\${includedir}\n")
else()
  set(TAUT_LIBS "Libs: -L\${libdir} -ltaut${TAUT_ALSO}\nCflags: -I\${includedir} -DTAUT_STATIC\n")
endif()
file(WRITE ${CMAKE_BINARY_DIR}/taut.pc
     "prefix=\${pcfiledir}/${TAUT_UP}\nlibdir=\${prefix}/${CMAKE_INSTALL_LIBDIR}\nincludedir=\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}\n\n"
     "Name: taut\nDescription: Reads Taut files\nVersion: 0.1.0\n${TAUT_LIBS}")
install(FILES ${CMAKE_BINARY_DIR}/taut.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
